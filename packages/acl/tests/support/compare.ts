import { expect } from 'vitest'

type Numbers = ArrayLike<number>
type Integers = ArrayLike<number | bigint>

/** Every element identical; on failure, says where the first difference is. */
export function expectIdentical(actual: Integers, expected: Integers, what: string): void {
  expect(actual.length, `${what}: length`).toBe(expected.length)
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i] && !(Number.isNaN(actual[i]) && Number.isNaN(expected[i]))) {
      expect.fail(`${what}[${i}] of ${expected.length}: ${actual[i]}, expected ${expected[i]}`)
    }
  }
}

/** Every element within `tolerance` of the largest magnitude; on failure, says where the first difference is. */
export function expectClose(actual: Numbers, expected: Numbers, tolerance: number, what: string): void {
  expect(actual.length, `${what}: length`).toBe(expected.length)
  const allowed = tolerance * largest(expected)
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i]! - expected[i]!) <= allowed)) {
      expect.fail(`${what}[${i}] of ${expected.length}: ${actual[i]}, expected ${expected[i]} ± ${allowed}`)
    }
  }
}

/** |actual - expected| / |expected|, Euclidean. */
export function relativeL2(actual: Numbers, expected: Numbers): number {
  let error = 0
  let norm = 0
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i]! - expected[i]!) ** 2
    norm += expected[i]! ** 2
  }
  return norm === 0 ? Math.sqrt(error) : Math.sqrt(error / norm)
}

/** How many elements differ by more than `tolerance` of the largest magnitude. */
export function countBeyond(actual: Numbers, expected: Numbers, tolerance: number): number {
  const allowed = tolerance * largest(expected)
  let beyond = 0
  for (let i = 0; i < expected.length; i++) if (!(Math.abs(actual[i]! - expected[i]!) <= allowed)) beyond++
  return beyond
}

function largest(values: Numbers): number {
  let most = 0
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!))
  return most
}
