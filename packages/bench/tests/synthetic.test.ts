import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Input } from '../src/input.js'
import { type Synthetic, synthesize, synthetics } from '../src/synthetic.js'

const dims = { heads: 4, kvHeads: 2, length: 96, headDim: 32, causal: false, seed: 11 }

/** Logits of one query head, [queryLength][keyLength]. */
function logits({ heads, kvHeads, queryLength, keyLength, headDim, softmaxScale, query, key }: Input, head: number) {
  const kvHead = Math.floor((head * kvHeads) / heads)
  return Array.from({ length: queryLength }, (_, i) =>
    Array.from({ length: keyLength }, (_, j) => {
      let dot = 0
      for (let c = 0; c < headDim; c++) {
        dot += query[(head * queryLength + i) * headDim + c]! * key[(kvHead * keyLength + j) * headDim + c]!
      }
      return dot * softmaxScale
    }),
  )
}

function moments(values: readonly number[]) {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length
  return { mean, deviation: Math.sqrt(variance) }
}

const digest = ({ query, key, value }: Input) => {
  const hash = createHash('sha256')
  for (const { buffer } of [query, key, value]) hash.update(new Uint8Array(buffer as ArrayBuffer))
  return hash.digest('hex').slice(0, 16)
}

const digests: Readonly<Record<Synthetic, string>> = {
  normal: 'f300a315eda88c2b',
  flat: '32f3356042c96f6b',
  peaky: 'ae47b5285f9c5228',
  sink: 'a3a37a45fcd2e3df',
}

describe('synthesize', () => {
  it.each(synthetics)('%s has the shape asked for and finite numbers', (kind) => {
    const input = synthesize(kind, dims)
    expect(input.query.length).toBe(4 * 96 * 32)
    expect(input.key.length).toBe(2 * 96 * 32)
    expect(input.value.length).toBe(2 * 96 * 32)
    expect([...input.query, ...input.key, ...input.value].every(Number.isFinite)).toBe(true)
    expect(input).toMatchObject({ batch: 1, heads: 4, kvHeads: 2, queryLength: 96, keyLength: 96, headDim: 32 })
  })

  it.each(synthetics)('%s depends on the seed and on nothing else', (kind) => {
    expect(digest(synthesize(kind, dims))).toBe(digest(synthesize(kind, dims)))
    expect(digest(synthesize(kind, dims))).not.toBe(digest(synthesize(kind, { ...dims, seed: 12 })))
  })

  // The bytes are part of the benchmark: numbers of different machines are about the same problem.
  it.each(synthetics)('%s gives the same bytes on every machine', (kind) => {
    expect(digest(synthesize(kind, dims))).toBe(digests[kind])
  })

  it.each([
    ['normal', 1],
    ['flat', 0.1],
    ['peaky', 4],
  ] as const)('%s: logits have mean 0 and standard deviation %d', (kind, expected) => {
    const { mean, deviation } = moments(logits(synthesize(kind, dims), 3).flat())
    expect(Math.abs(mean)).toBeLessThan(0.1 * expected)
    expect(deviation / expected).toBeGreaterThan(0.9)
    expect(deviation / expected).toBeLessThan(1.1)
  })

  it('sink: key 0 lies 8 logits above the mean of the others, for every query of every head', () => {
    const input = synthesize('sink', dims)
    for (let head = 0; head < 4; head++) {
      const rows = logits(input, head)
      for (const row of rows) expect(row[0]).toBeCloseTo(8, 3)
      const { mean, deviation } = moments(rows.flatMap((row) => row.slice(1)))
      expect(Math.abs(mean)).toBeLessThan(0.1)
      expect(Math.abs(deviation - 1)).toBeLessThan(0.15)
    }
  })

  it('sink: the channels of V have means of their own', () => {
    const { value } = synthesize('sink', { ...dims, length: 1024 })
    const means = Array.from(
      { length: 32 },
      (_, c) => moments(Array.from({ length: 1024 }, (_, j) => value[j * 32 + c]!)).mean,
    )
    expect(moments(means).deviation).toBeGreaterThan(0.6)
  })

  it.each(synthetics)('%s works for one token of one channel', (kind) => {
    const input = synthesize(kind, { heads: 1, kvHeads: 1, length: 1, headDim: 1, causal: true, seed: 0 })
    expect([...input.query, ...input.key, ...input.value].every(Number.isFinite)).toBe(true)
  })
})
