import { describe, expect, it } from 'vitest'
import { compare, exactAttention } from '../src/accuracy.js'
import type { Input } from '../src/input.js'
import { Random } from '../src/random.js'
import { findPeer } from './peer.js'

const { peer, missing } = await findPeer()

interface Dims {
  batch: number
  heads: number
  kvHeads: number
  queryLength: number
  keyLength: number
  headDim: number
  causal: boolean
  softmaxScale: number
  window?: number
}

function randomInput(dims: Dims): Input {
  const { batch, heads, kvHeads, queryLength, keyLength, headDim } = dims
  const random = new Random(5)
  const normals = (count: number) => Float32Array.from({ length: count }, () => random.normal())
  return {
    ...dims,
    source: 'random',
    query: normals(batch * heads * queryLength * headDim),
    key: normals(batch * kvHeads * keyLength * headDim),
    value: normals(batch * kvHeads * keyLength * headDim),
  }
}

const dims: Dims = {
  batch: 1,
  heads: 4,
  kvHeads: 4,
  queryLength: 33,
  keyLength: 33,
  headDim: 16,
  causal: false,
  softmaxScale: 0.25,
}

describe.skipIf(!peer)(`onnxruntime's MultiHeadAttention${missing ? `: ${missing}` : ''}`, () => {
  it.each<[string, Partial<Dims>, number]>([
    ['one thread', {}, 1],
    ['two threads', {}, 2],
    ['a causal mask', { causal: true }, 1],
    ['a causal mask, grouped heads, two threads', { causal: true, kvHeads: 2 }, 2],
    ['one key head', { kvHeads: 1 }, 1],
    ['fewer queries than keys', { queryLength: 7 }, 1],
    ['a batch', { batch: 2, kvHeads: 2 }, 1],
    ['another softmax scale', { softmaxScale: 1.5 }, 1],
    ['longer rows', { heads: 2, kvHeads: 1, queryLength: 300, keyLength: 300, headDim: 64, softmaxScale: 0.125 }, 2],
  ])('agrees with float64 attention: %s', async (_, changed, threads) => {
    const input = randomInput({ ...dims, ...changed })
    const contender = await peer!.open(input, threads)
    const { ms } = await contender.run()
    expect(ms).toBeGreaterThan(0)
    const accuracy = compare(contender.output(), exactAttention(input), input)
    expect((await contender.idle.run()).ms).toBeGreaterThan(0)
    await contender.release()
    expect(accuracy.relL2).toBeLessThan(1e-5)
    expect(accuracy.cosine).toBeGreaterThan(0.99999)
    expect(contender).toMatchObject({ name: 'onnxruntime', version: expect.stringMatching(/^\d+\.\d+\.\d+/) })
  })

  it.each<[string, Partial<Dims>, number]>([
    ['a cache', {}, 1],
    ['grouped heads, two threads', { kvHeads: 2 }, 2],
    ['a window', { window: 5 }, 1],
    ['a batch', { batch: 2, kvHeads: 1 }, 1],
  ])('with one query agrees with float64 attention, run after run: %s', async (_, changed, threads) => {
    const input = randomInput({ ...dims, queryLength: 1, causal: true, ...changed })
    peer!.check(input)
    const contender = await peer!.open(input, threads)
    for (let run = 0; run < 2; run++) {
      await contender.run()
      expect(compare(contender.output(), exactAttention(input), input).relL2).toBeLessThan(1e-5)
    }
    await contender.release()
    expect(contender.operator).toBe('com.microsoft.GroupQueryAttention')
  })

  it('refuses a causal mask over fewer queries than keys, which the operator aligns otherwise', () => {
    const input = randomInput({ ...dims, queryLength: 7, causal: true })
    expect(() => peer!.check(input)).toThrow(/^argument --peer: expected as many queries as keys/)
  })
})
