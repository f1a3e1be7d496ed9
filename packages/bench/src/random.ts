/**
 * Natural logarithm of a positive normal number by 2 artanh((m - 1) / (m + 1)), m in [√½, √2). `Math.log` may differ in
 * the last place from one machine or Node version to another; additions, products and quotients may not.
 */
function naturalLog(x: number): number {
  let mantissa = x
  let exponent = 0
  for (; mantissa < Math.SQRT1_2; exponent--) mantissa *= 2
  for (; mantissa >= 2 * Math.SQRT1_2; exponent++) mantissa /= 2
  const z = (mantissa - 1) / (mantissa + 1)
  const square = z * z
  let sum = 0
  for (let odd = 21; odd >= 1; odd -= 2) sum = sum * square + 1 / odd
  return exponent * Math.LN2 + 2 * z * sum
}

/**
 * xoshiro128** 1.1, its four words filled from the seed by splitmix32. Every number drawn is the same on every machine:
 * nothing but integer operations and IEEE 754's exactly rounded ones.
 */
export class Random {
  #a: number
  #b: number
  #c: number
  #d: number
  #spare: number | undefined

  /** @param seed integer, 0 … 2^32 - 1 */
  constructor(seed: number) {
    let counter = seed | 0
    const word = () => {
      counter = (counter + 0x9e3779b9) | 0
      let z = Math.imul(counter ^ (counter >>> 16), 0x21f0aaad)
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
      return z ^ (z >>> 15)
    }
    this.#a = word()
    this.#b = word()
    this.#c = word()
    this.#d = word()
  }

  /** Uniform integer, 0 … 2^32 - 1. */
  uint32(): number {
    const product = Math.imul(this.#b, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9)
    const shifted = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= shifted
    this.#d = (this.#d << 11) | (this.#d >>> 21)
    return result >>> 0
  }

  /** Uniform in [0, 1), a multiple of 2^-53. */
  uniform(): number {
    const high = this.uint32() >>> 5
    const low = this.uint32() >>> 6
    return (high * 0x4000000 + low) / 0x20000000000000
  }

  /** Standard normal, by the polar form of Box and Muller (Marsaglia). */
  normal(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare
      this.#spare = undefined
      return spare
    }
    for (;;) {
      const x = 2 * this.uniform() - 1
      const y = 2 * this.uniform() - 1
      const square = x * x + y * y
      if (square >= 1 || square === 0) continue
      const factor = Math.sqrt((-2 * naturalLog(square)) / square)
      this.#spare = y * factor
      return x * factor
    }
  }

  /** Shuffles in place (Fisher and Yates). */
  shuffle<T>(items: T[]): T[] {
    for (let last = items.length - 1; last > 0; last--) {
      const other = Math.floor(this.uniform() * (last + 1))
      const swapped = items[last]!
      items[last] = items[other]!
      items[other] = swapped
    }
    return items
  }
}
