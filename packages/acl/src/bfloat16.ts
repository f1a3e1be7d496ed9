/** From this magnitude on, rounding to bfloat16 gives infinity. */
export const bfloat16Overflow = (2 - 2 ** -8) * 2 ** 127

const float32 = new Float32Array(1)
const bits32 = new Uint32Array(float32.buffer)

/** bfloat16 bits of a number, which is rounded to float32 first: nearest, ties to even, subnormals kept. */
export function bfloat16Bits(x: number): number {
  if (Number.isNaN(x)) return 0x7fc0
  float32[0] = x
  const bits = bits32[0]!
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** The number that bfloat16 bits stand for. */
export function bfloat16Value(bits: number): number {
  bits32[0] = bits << 16
  return float32[0]!
}
