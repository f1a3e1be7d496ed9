/** A seeded generator (mulberry32) with the draws the tests need. */
export class Random {
  #state: number

  constructor(readonly seed: number) {
    this.#state = seed >>> 0
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** An integer, both ends included. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(values: readonly T[]): T {
    return values[this.integer(0, values.length - 1)]!
  }

  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next())
  }

  normals(count: number, scale = 1): Float32Array {
    return Float32Array.from({ length: count }, () => scale * this.normal())
  }
}

/** How much of a size or a number of cases to take: the share that INTATTN_TEST_SHARE (percent) says, where the machine is emulated. */
export const shareOf = (number: number): number =>
  Math.max(1, Math.round((number * Number(process.env.INTATTN_TEST_SHARE ?? 100)) / 100))

/** The seed of this run: INTATTN_SEED repeats one that failed. */
export const seedOf = (byDefault: number): number => Number(process.env.INTATTN_SEED ?? byDefault)
