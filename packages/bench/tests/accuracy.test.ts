import { describe, expect, it } from 'vitest'
import { compare, comparedRows, exactAttention } from '../src/accuracy.js'
import { type Input, usefulMacs } from '../src/input.js'
import { synthesize } from '../src/synthetic.js'

const tiny = synthesize('normal', { heads: 1, kvHeads: 1, length: 2, headDim: 1, causal: false, seed: 1 })

/** The last `queries` tokens as queries to all keys. */
function lastQueries(input: Input, queries: number): Input {
  const { heads, queryLength, headDim } = input
  const kept = Array.from({ length: heads }, (_, head) => {
    const end = (head + 1) * queryLength * headDim
    return [...input.query.subarray(end - queries * headDim, end)]
  })
  return { ...input, queryLength: queries, query: Float32Array.from(kept.flat()) }
}

describe('compare', () => {
  const exact = { rows: [0, 1], exact: Float64Array.of(3, 4) }

  it('finds no error in the same numbers', () => {
    expect(compare(Float32Array.of(3, 4), exact, tiny)).toEqual({ relL2: 0, cosine: 1, maxAbs: 0, rows: 2 })
  })

  it('measures known errors', () => {
    const accuracy = compare(Float32Array.of(3, 3), exact, tiny)
    expect(accuracy.relL2).toBeCloseTo(1 / 5, 12)
    expect(accuracy.cosine).toBeCloseTo(21 / (5 * Math.sqrt(18)), 12)
    expect(accuracy.maxAbs).toBe(1)
    expect(compare(Float32Array.of(-3, -4), exact, tiny)).toMatchObject({ relL2: 2, cosine: -1, maxAbs: 8 })
  })

  it('compares only the rows there are', () => {
    expect(compare(Float32Array.of(9, 4), { rows: [1], exact: Float64Array.of(4) }, tiny)).toMatchObject({
      relL2: 0,
      rows: 1,
    })
  })

  it('stays finite when all is zero', () => {
    const zeros = { rows: [0, 1], exact: new Float64Array(2) }
    expect(compare(new Float32Array(2), zeros, tiny)).toMatchObject({ relL2: 0, cosine: 0 })
  })
})

describe('exactAttention', () => {
  it('knows attention to two keys', () => {
    const input = { ...tiny, query: Float32Array.of(1, 0), key: Float32Array.of(0, Math.fround(Math.log(3))) }
    const { exact } = exactAttention({ ...input, value: Float32Array.of(4, 8), softmaxScale: 1 })
    expect(exact[0]).toBeCloseTo((4 + 3 * 8) / 4, 6)
    expect(exact[1]).toBeCloseTo(6, 12)
  })

  const shaped = { heads: 4, kvHeads: 2, length: 40, headDim: 8, seed: 3 }
  it.each([
    ['all keys', synthesize('normal', { ...shaped, causal: false })],
    ['a causal mask', synthesize('peaky', { ...shaped, causal: true })],
    ['a window', { ...synthesize('peaky', { ...shaped, causal: true }), window: 7 }],
    ['a causal mask and fewer queries than keys', lastQueries(synthesize('normal', { ...shaped, causal: true }), 15)],
  ])('gives sampled rows the values they have among all rows: %s', (_, input) => {
    const all = exactAttention(input)
    const some = exactAttention(input, usefulMacs(input) / 3)
    expect(all.rows.length).toBe(input.queryLength)
    expect(some.rows.length).toBe(Math.floor(input.queryLength / 3))
    for (let head = 0; head < 4; head++) {
      some.rows.forEach((row, index) => {
        for (let c = 0; c < 8; c++) {
          const sampled = some.exact[(head * some.rows.length + index) * 8 + c]!
          expect(sampled).toBeCloseTo(all.exact[(head * input.queryLength + row) * 8 + c]!, 12)
        }
      })
    }
  })
})

describe('comparedRows', () => {
  it('takes all rows when they are affordable, else an even spread with both ends', () => {
    expect(comparedRows(tiny)).toEqual([0, 1])
    const input = { ...tiny, queryLength: 100, keyLength: 100 }
    expect(comparedRows(input, usefulMacs(input) / 25)).toEqual([0, 33, 66, 99])
    expect(comparedRows(input, 1)).toEqual([0, 99])
  })
})
