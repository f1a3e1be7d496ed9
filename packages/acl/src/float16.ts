/** From this magnitude on, rounding to float16 gives infinity. */
export const float16Overflow = 65520

const float64 = new Float64Array(1)
const words = new Uint32Array(float64.buffer)
const high = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 1 : 0
const powers = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (exponent - 15))

/** Round to the nearest integer, ties to even; |x| < 2^51. */
export const roundTiesToEven = (x: number): number => x + 6755399441055744 - 6755399441055744

/** IEEE 754 binary16 bits of a number: nearest, ties to even, subnormals kept, infinity from 65520. */
export function float16Bits(x: number): number {
  float64[0] = x
  const sign = (words[high]! >>> 16) & 0x8000
  const magnitude = Math.abs(x)
  if (Number.isNaN(x)) return 0x7e00
  if (magnitude >= float16Overflow) return sign | 0x7c00
  if (magnitude < 2 ** -14) return sign | roundTiesToEven(magnitude * 2 ** 24)
  const exponent = ((words[high]! >>> 20) & 0x7ff) - 1023
  // A significand that rounds up to 2048 carries into the exponent, as it should.
  return sign | (((exponent + 14) << 10) + roundTiesToEven(magnitude * 2 ** (10 - exponent)))
}

/** The number that IEEE 754 binary16 bits stand for. */
export function float16Value(bits: number): number {
  const exponent = (bits >>> 10) & 0x1f
  const fraction = bits & 0x3ff
  const magnitude =
    exponent === 0
      ? fraction * 2 ** -24
      : exponent < 31
        ? (1 + fraction / 1024) * powers[exponent]!
        : fraction === 0
          ? Number.POSITIVE_INFINITY
          : Number.NaN
  return bits & 0x8000 ? -magnitude : magnitude
}

/** The nearest float16, as a number. */
export const roundToFloat16 = (x: number): number => float16Value(float16Bits(x))
