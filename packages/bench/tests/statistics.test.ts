import { describe, expect, it } from 'vitest'
import { extremes, medianOf, summarize } from '../src/statistics.js'

describe('summarize', () => {
  it('gives minimum, median and 95th percentile, in any order of samples', () => {
    const samples = Array.from({ length: 101 }, (_, i) => ((i * 37) % 101) + 1)
    expect(summarize(samples)).toEqual({ minMs: 1, medianMs: 51, p95Ms: 96 })
  })

  it('gives the largest of fewer than 20 samples as 95th percentile', () => {
    const samples = (count: number) => Array.from({ length: count }, (_, i) => i + 1)
    expect(summarize(samples(19)).p95Ms).toBe(19)
    expect(summarize(samples(20)).p95Ms).toBeLessThan(20)
  })

  it('takes one sample', () => {
    expect(summarize([2.5])).toEqual({ minMs: 2.5, medianMs: 2.5, p95Ms: 2.5 })
  })

  it('leaves the samples as they are', () => {
    const samples = [3, 1, 2]
    summarize(samples)
    expect(samples).toEqual([3, 1, 2])
  })
})

it('has medians and extremes of lists', () => {
  expect(medianOf([])).toBe(0)
  expect(medianOf([4, 1])).toBe(2.5)
  expect(extremes([2, 3, 1])).toEqual([1, 3])
})
