import { describe, expect, test } from 'vitest'
import { type AttentionOptions, engines, float64Attention } from '../src/index.js'
import { expectAgreement, floats, referenceRun, runOnce } from './support/agreement.js'
import { relativeL2 } from './support/compare.js'
import { presetOf } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { Random } from './support/random.js'
import { tensor } from './support/tensors.js'

const acl = engines().find(({ name }) => name === 'acl')!
const common = { heads: 1, engine: 'acl', threads: 2 } as const

/** One head's float32 tensor. */
const head = (data: ArrayLike<number>, headDim: number) =>
  tensor('float32', [1, 1, data.length / headDim, headDim], Float32Array.from(data))

describe.skipIf(!acl.available)(
  `engine acl at its limits${acl.available ? '' : ` (not run here: ${acl.reason})`}`,
  () => {
    const headDim = 16
    const lengths = [256, 257, 820, 1024, 3854, 16384]

    test.each(lengths)('fp16 adds up all of %i keys that weigh the same', (keyLength) => {
      const zeros = (length: number) => head(new Float32Array(length * headDim), headDim)
      const value = head(new Float32Array(keyLength * headDim).fill(1), headDim)
      for (const type of ['float32', 'float16'] as const) {
        const output = tensor(
          type,
          [1, 1, 3, headDim],
          new (type === 'float32' ? Float32Array : Uint16Array)(3 * headDim),
        )
        const inputs = { query: zeros(3), key: zeros(keyLength), value, output }
        const result = runOnce({ ...common, headDim, pipeline: 'fp16' }, inputs)
        for (const x of Array.from(floats(result.output))) expect(Math.abs(x - 1)).toBeLessThan(0.035)
      }
    })

    test.each(lengths)('fp16 of %i keys stays within bounds of float64 attention', (keyLength) => {
      const random = new Random(keyLength)
      const draw = (length: number) => head(random.normals(length * headDim), headDim)
      const value = draw(keyLength)
      for (let i = 0; i < value.data.length; i++) value.data[i]! += 1
      const inputs = { query: draw(3), key: draw(keyLength), value }
      const { output } = runOnce({ ...common, headDim, pipeline: 'fp16', causal: true }, inputs)
      expect(relativeL2(floats(output), float64Attention({ ...inputs, causal: true }))).toBeLessThan(0.003)
    })

    test.each(['fp32', 'fp16'] as const)('%s: a mask hides keys at the smallest softmax scale', (pipeline) => {
      const inputs = {
        query: head([1, 1, 1, 1, 1], 1),
        key: head([1, 2, 3, 4, 5], 1),
        value: head([1, 100, 4, 7, 8], 1),
      }
      const { output } = runOnce({ ...common, headDim: 1, pipeline, causal: true, softmaxScale: 1e-30 }, inputs)
      const means = [1, 50.5, 35, 28, 24]
      for (const [i, x] of Array.from(floats(output)).entries()) expect(x / means[i]!).toBeCloseTo(1, 2)
    })

    test('fp16: scores beyond float16 are told, also those that weigh next to nothing', async () => {
      const inputs = { query: head([300], 1), key: head([-300, 1], 1), value: head([1, 2], 1) }
      const options: AttentionOptions = { ...common, headDim: 1, pipeline: 'fp16', softmaxScale: 1e-5 }
      expectTyped(await errorOf(() => runOnce(options, inputs)), 'NON_FINITE', 'query')
    })

    test.each([
      ['small', 1e-30, 1e-30],
      ['large', 1e30, 1e30],
    ])('int and int8: logit scales as %s as they get', (_, magnitude, softmaxScale) => {
      const random = new Random(8)
      const draw = (length: number, spread: number) => head(random.normals(length * 8, spread), 8)
      const inputs = { query: draw(4, magnitude), key: draw(30, magnitude), value: draw(30, 1), intermediates: true }
      for (const pipeline of ['int', 'int8'] as const) {
        const preset = 'precise-1' as const
        const options = { heads: 1, headDim: 8, pipeline, preset, softmaxScale, causal: true }
        const wanted = { ...inputs, intermediates: pipeline === 'int' }
        expectAgreement(runOnce({ ...options, engine: 'acl' }, wanted), referenceRun(options, wanted), pipeline, 'acl')
      }
    })

    test('a batch of more lengths than operators are usually kept for', () => {
      const random = new Random(9)
      const keyLengths = Uint32Array.of(40, 33, 0, 7, 21, 40, 39, 12)
      const draw = (length: number) => tensor('float32', [8, 1, length, 8], random.normals(8 * length * 8))
      const inputs = { query: draw(5), key: draw(40), value: draw(40), keyLengths }
      for (const pipeline of ['fp32', 'fp16', 'int8', 'int'] as const) {
        const options = { heads: 1, headDim: 8, pipeline, ...presetOf({ engine: 'acl' }, pipeline) }
        expectAgreement(runOnce({ ...options, engine: 'acl' }, inputs), referenceRun(options, inputs), pipeline, 'acl')
      }
    })
  },
)
