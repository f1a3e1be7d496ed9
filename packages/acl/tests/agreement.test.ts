import { expect, test } from 'vitest'
import {
  Attention,
  float64Attention,
  indexSoftmax,
  type Pipeline,
  pipelines,
  quantize,
  type Tensor,
} from '../src/index.js'
import { expectAgreement, floats, forSeeds, Once, referenceRun, runOnce } from './support/agreement.js'
import { expectIdentical, relativeL2 } from './support/compare.js'
import { describeEachChoice, presetOf } from './support/engines.js'
import { describeEachIsa } from './support/instruction-sets.js'
import { randomProblem } from './support/problems.js'
import { Random, seedOf } from './support/random.js'
import { tensor } from './support/tensors.js'

const once = new Once()

describeEachChoice('agrees with the reference', (choice) => {
  test.each(pipelines)('%s on random problems', async (pipeline) => {
    await forSeeds(seedOf(1000), 150, (seed) => {
      const { options, inputs } = randomProblem(new Random(seed), { pipeline, maxLength: 150, maxHeadDim: 96 })
      const intermediates = pipeline === 'int' || pipeline === 'int8'
      const wanted = { ...inputs, ...(intermediates && { intermediates }) }
      const expected = once.get(`${pipeline} ${seed}`, () => referenceRun(options, wanted))
      using attention = new Attention({ ...options, ...choice })
      expectAgreement(attention.runSync(wanted), expected, pipeline, choice.engine)
      expectAgreement(attention.runSync(inputs), expected, pipeline, choice.engine)
    })
  })

  const headDims = [1, 2, 3, 13, 31, 32, 33, 63, 64, 65, 80, 100, 128, 257, 1024]
  test.each(headDims)('headDim %i', (headDim) => {
    for (const pipeline of pipelines) {
      const preset = presetOf(choice, pipeline)
      const options = { pipeline, ...preset, heads: 2, kvHeads: 1, headDim, threads: 2, causal: true }
      const { inputs, expected } = once.get(JSON.stringify(options), () => {
        const random = new Random(headDim)
        const draw = (heads: number, length: number): Tensor =>
          tensor('float32', [1, heads, length, headDim], random.normals(heads * length * headDim))
        const inputs = { query: draw(2, 37), key: draw(1, 53), value: draw(1, 53) }
        return { inputs, expected: referenceRun(options, inputs) }
      })
      expectAgreement(runOnce({ ...options, ...choice }, inputs), expected, pipeline, choice.engine)
    }
  })

  const lengths = [1, 2, 15, 16, 17, 31, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129, 255, 257, 511]
  test.each(lengths)('keyLength %i', (keyLength) => {
    for (const pipeline of pipelines) {
      for (const queryLength of [1, 5, keyLength]) {
        const preset = presetOf(choice, pipeline)
        const options = { pipeline, ...preset, heads: 1, headDim: 24, threads: 3, causal: keyLength % 2 === 1 }
        const { inputs, expected } = once.get(JSON.stringify([options, keyLength, queryLength]), () => {
          const random = new Random(keyLength * 1000 + queryLength)
          const draw = (length: number): Tensor => tensor('float32', [1, 1, length, 24], random.normals(length * 24))
          const inputs = { query: draw(queryLength), key: draw(keyLength), value: draw(keyLength) }
          return { inputs, expected: referenceRun(options, inputs) }
        })
        expectAgreement(runOnce({ ...options, ...choice }, inputs), expected, pipeline, choice.engine)
      }
    }
  })
})

describeEachIsa('steps agree with the reference', (isa) => {
  test('indexSoftmax on random scores', async () => {
    await forSeeds(seedOf(2000), 400, (seed) => {
      const random = new Random(seed)
      const rows = random.integer(1, 5)
      const cols = random.integer(1, random.pick([8, 70, 600]))
      const spread = 2 ** random.integer(0, 31)
      const scores = Int32Array.from({ length: rows * cols }, () => (random.next() * 2 - 1) * spread)
      const scale = () => (2 ** random.integer(-6, 8) * (1 + random.next())) / spread
      const options = {
        scores,
        rows,
        cols,
        logitScale: random.chance(0.5) ? scale() : Float64Array.from({ length: rows }, scale),
        normalization: random.pick(['integer', 'deferred'] as const),
        ...(random.chance(0.4) && {
          valid: Uint8Array.from(scores, () => (random.chance(0.3) ? 0 : random.integer(1, 255))),
        }),
        ...(random.chance(0.5)
          ? { table: 'exp2' as const }
          : { table: 'natural' as const, clip: 12 * random.next() + 0.1, lutBits: random.pick([4, 5, 6] as const) }),
      }
      const actual = indexSoftmax({ ...options, isa })
      const expected = indexSoftmax({ ...options, engine: 'reference' })
      expectIdentical(actual.probabilities, expected.probabilities, 'probabilities')
      expectIdentical(actual.rowSum, expected.rowSum, 'rowSum')
      expectIdentical(actual.lost, expected.lost, 'lost')
    })
  })

  test('quantize on random values', async () => {
    await forSeeds(seedOf(3000), 300, (seed) => {
      const random = new Random(seed)
      const dims = [random.integer(1, 3), random.integer(1, 3), random.integer(1, 150), random.integer(1, 80)] as const
      const magnitude = 2 ** random.integer(-140, 120)
      const data = random.normals(dims[0] * dims[1] * dims[2] * dims[3], magnitude)
      if (random.chance(0.2)) data.fill(0, 0, random.integer(0, data.length))
      const values: Tensor = random.chance(0.7)
        ? { type: 'float32', dims, data }
        : tensor('float16', dims, random.normals(data.length, 2 ** random.integer(-24, 12)))
      const scope = random.pick(['tensor', 'head', 'row', 'channel'] as const)
      const options = { values, scope, center: random.chance(0.5) }
      const actual = quantize({ ...options, isa })
      const expected = quantize({ ...options, engine: 'reference' })
      if (expected.mean) expectIdentical(actual.mean!, expected.mean, 'mean')
      expectIdentical(actual.scale, expected.scale, 'scale')
      expectIdentical(actual.quantized, expected.quantized, 'quantized')
    })
  })
})

describeEachChoice('accuracy against float64 attention', (choice) => {
  const bounds: [Pipeline, number][] = [
    ['fp32', 2e-6],
    ['fp16', choice.engine === 'acl' ? 1e-2 : 3e-3],
    ['int8', 0.2],
    ['int', 0.04],
  ]
  test.each(bounds)('%s: relative L2 error below %f', (pipeline, bound) => {
    const random = new Random(7)
    const [length, headDim] = [400, 64]
    const draw = (heads: number): Tensor =>
      tensor('float32', [1, heads, length, headDim], random.normals(heads * length * headDim))
    const inputs = { query: draw(4), key: draw(2), value: draw(2) }
    const options = { pipeline, heads: 4, kvHeads: 2, headDim, causal: true, threads: 2, ...choice }
    const exact = float64Attention({ ...inputs, causal: true })
    expect(relativeL2(floats(runOnce(options, inputs).output), exact)).toBeLessThan(bound)
  })
})
