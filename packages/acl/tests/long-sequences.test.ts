import { expect, test } from 'vitest'
import { Attention, type AttentionOptions, type Tensor } from '../src/index.js'
import { expectAgreement, floats, indexIntermediates, Once, referenceRun } from './support/agreement.js'
import { expectClose } from './support/compare.js'
import { describeEachChoice } from './support/engines.js'
import { Random } from './support/random.js'
import { tensor } from './support/tensors.js'

const headDim = 8

/** From 66,311 keys on, sums of probability times value may leave int32; from 132,104 on, they leave uint32 too. */
const keyLengths = [66311, 66400, 140000, 263172]

const int8 = (length: number, value: number): Tensor => {
  const dims = [1, 1, length, headDim]
  return tensor('int8', dims, new Int8Array(length * headDim).fill(value), Float32Array.of(0.5))
}

const once = new Once()

describeEachChoice('sequences past the range of int32', (choice) => {
  const scopes = { query: 'tensor', key: 'tensor', value: 'tensor' } as const
  const base = { preset: 'precise-1', heads: 1, headDim, quantization: scopes, normalization: 'deferred' } as const

  test.each(keyLengths)('%i keys that all weigh most: the mean is exact', (keyLength) => {
    for (const table of ['natural', 'exp2'] as const) {
      for (const value of [127, -127, -128]) {
        for (const threads of [1, 2]) {
          using attention = new Attention({ ...base, table, threads, ...choice })
          const inputs = { query: int8(2, 100), key: int8(keyLength, 100), value: int8(keyLength, value) }
          const { output } = attention.runSync(inputs)
          expectClose(output.data as Float32Array, new Array(2 * headDim).fill(value / 2), 1e-6, `${table}, ${value}`)
        }
      }
    }
  })

  test.each(keyLengths)('%i keys: the integers are those of the reference', (keyLength) => {
    const inputs = once.get(`${keyLength}`, () => {
      const random = new Random(keyLength)
      const draw = (length: number, scale: number): Tensor =>
        tensor('float32', [1, 1, length, headDim], random.normals(length * headDim, scale))
      const value = draw(keyLength, 1)
      ;(value.data as Float32Array).forEach((x, i, all) => {
        all[i] = x + 5
      })
      return { query: draw(2, 0.1), key: draw(keyLength, 1), value }
    })
    const cases: AttentionOptions[] = [
      { heads: 1, headDim, preset: 'precise-1' },
      { heads: 1, headDim, preset: 'paper', normalization: 'deferred' },
      { heads: 1, headDim, pipeline: 'int8' },
      { heads: 1, headDim, pipeline: 'fp32' },
    ]
    for (const options of cases) {
      const wanted = { ...inputs, ...(options.pipeline === undefined && { intermediates: true }) }
      using attention = new Attention({ ...options, threads: 2, ...choice })
      const actual = attention.runSync(wanted)
      const expected = once.get(JSON.stringify([keyLength, options]), () => referenceRun(options, wanted))
      // A float32 sum of so many values drifts, in this pipeline by design.
      if (options.pipeline === 'fp32') expectClose(floats(actual.output), floats(expected.output), 1e-4, 'output')
      else expectAgreement(actual, expected, attention.options.pipeline, choice.engine)
    }
  })

  test('causal rows on both sides of the limit', () => {
    const keyLength = 66350
    using attention = new Attention({ ...base, causal: true, threads: 2, ...choice })
    const inputs = { query: int8(80, 1), key: int8(keyLength, 1), value: int8(keyLength, -127) }
    const { output } = attention.runSync(inputs)
    expectClose(output.data as Float32Array, new Array(80 * headDim).fill(-63.5), 1e-6, 'output')
  })
})

test('a row sum reaches 32 bits without wrapping', () => {
  const keyLength = 263172
  using attention = new Attention({ heads: 1, headDim, preset: 'precise-1', smoothKey: false, threads: 1 })
  const ones = (length: number) =>
    tensor('float32', [1, 1, length, headDim], new Float32Array(length * headDim).fill(1))
  const result = attention.runSync({
    query: ones(1),
    key: ones(keyLength),
    value: ones(keyLength),
    intermediates: true,
  })
  expect(indexIntermediates(result).rowSum![0]).toBe(263172 * 16320)
})
