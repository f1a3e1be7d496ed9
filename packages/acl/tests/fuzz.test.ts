import { describe, expect, test } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  type IndexSoftmaxOptions,
  indexSoftmax,
  type QuantizeOptions,
  quantize,
} from '../src/index.js'
import { expectAgreement, floats, forSeeds, referenceRun } from './support/agreement.js'
import { expectIdentical } from './support/compare.js'
import { choices } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { availableIsas } from './support/instruction-sets.js'
import { randomProblem } from './support/problems.js'
import { Random, seedOf } from './support/random.js'
import { scramble, spoil } from './support/spoil.js'
import { tensor } from './support/tensors.js'

const small = { maxLength: 14, maxHeadDim: 20 }
const seed = seedOf(100_000)

/** What a caller does: make an object, run it one way or the other, throw it away. */
async function attempt(random: Random, options: unknown, inputs: unknown) {
  const attention = new Attention(options as AttentionOptions)
  try {
    const given = inputs as AttentionInputs
    return random.chance(0.5) ? attention.runSync(given) : await attention.run(given)
  } finally {
    attention.dispose()
  }
}

describe('fuzz', () => {
  test('9,000 valid problems give what the reference gives', async () => {
    await forSeeds(seed, 9000, async (s) => {
      const random = new Random(s)
      const { options, inputs } = randomProblem(random, small)
      const choice = random.pick(choices)
      const { pipeline } = options
      const integers = (pipeline === 'int' || pipeline === 'int8') && random.chance(0.5)
      const wanted = { ...inputs, ...(integers && { intermediates: true }) }
      const actual = await attempt(random, { ...options, ...choice }, wanted)
      expect(Array.from(floats(actual.output)).every(Number.isFinite)).toBe(true)
      expectAgreement(actual, referenceRun(options, wanted), pipeline ?? 'int', choice.engine)
    })
  })

  test('9,000 problems spoiled in one place give a typed error', async () => {
    await forSeeds(seed, 9000, async (s) => {
      const random = new Random(s)
      const { what, options, inputs } = spoil(random, randomProblem(random, small))
      const error = await errorOf(() => attempt(random, options, inputs)).catch(() => expect.fail(`${what}: no error`))
      try {
        expectTyped(error)
      } catch (failure) {
        expect.fail(`${what}: ${failure instanceof Error ? failure.message : failure}`)
      }
    })
  })

  test('4,000 problems with anything anywhere give finite numbers or a typed error', async () => {
    await forSeeds(seed, 4000, async (s) => {
      const random = new Random(s)
      const { what, options, inputs } = scramble(random, randomProblem(random, small))
      try {
        const { output } = await attempt(random, options, inputs)
        expect(Array.from(floats(output)).every(Number.isFinite), what).toBe(true)
      } catch (error) {
        expectTyped(error)
      }
    })
  })

  test('2,000 calls of indexSoftmax, half of them spoiled', async () => {
    await forSeeds(seed, 2000, async (s) => {
      const random = new Random(s)
      const [rows, cols] = [random.integer(1, 6), random.integer(1, 40)]
      const scores = Int32Array.from({ length: rows * cols }, () => random.normal() * 2 ** random.integer(2, 28))
      const good: IndexSoftmaxOptions = {
        scores,
        rows,
        cols,
        logitScale: 2 ** random.integer(-30, 3),
        ...(random.chance(0.5) && { normalization: random.pick(['integer', 'deferred'] as const) }),
        ...(random.chance(0.3) && { valid: Uint8Array.from(scores, () => random.integer(0, 1)) }),
        ...(random.chance(0.5) && { table: 'natural', clip: 0.5 + 9 * random.next() }),
      }
      if (random.chance(0.5)) {
        const actual = indexSoftmax({ ...good, isa: random.pick(availableIsas) })
        const expected = indexSoftmax({ ...good, engine: 'reference' })
        expectIdentical(actual.probabilities, expected.probabilities, 'probabilities')
        expectIdentical(actual.rowSum, expected.rowSum, 'rowSum')
        expectIdentical(actual.lost, expected.lost, 'lost')
        return
      }
      const name = random.pick([
        'scores',
        'rows',
        'cols',
        'logitScale',
        'valid',
        'table',
        'normalization',
        'isa',
        'width',
      ])
      const value = random.pick([
        0,
        -1,
        Number.NaN,
        '',
        null,
        {},
        [1],
        new Array(2 ** 32 - 1),
        new Uint8Array(rows * cols + 1),
        new Float32Array(1),
      ])
      expectTyped(await errorOf(() => indexSoftmax({ ...good, [name]: value } as unknown as IndexSoftmaxOptions)))
    })
  })

  test('2,000 calls of quantize, half of them spoiled', async () => {
    await forSeeds(seed, 2000, async (s) => {
      const random = new Random(s)
      const dims = Array.from({ length: 4 }, () => random.integer(1, 6))
      const length = dims.reduce((product, dim) => product * dim, 1)
      const values = tensor(random.pick(['float32', 'float16'] as const), dims, random.normals(length, 3))
      const scope = random.pick(['tensor', 'head', 'row', 'channel'] as const)
      const good: QuantizeOptions = { values, scope, ...(random.chance(0.5) && { center: random.chance(0.5) }) }
      if (random.chance(0.5)) {
        const actual = quantize({ ...good, isa: random.pick(availableIsas) })
        const expected = quantize({ ...good, engine: 'reference' })
        expectIdentical(actual.quantized, expected.quantized, 'quantized')
        expectIdentical(actual.scale, expected.scale, 'scale')
        expect(actual.mean !== undefined).toBe(good.center === true)
        if (expected.mean) expectIdentical(actual.mean!, expected.mean, 'mean')
        return
      }
      const name = random.pick(['values', 'scope', 'center', 'isa', 'axis', 'two\nlines'])
      const broken = [
        { ...values, dims: dims.with(2, 0) },
        { ...values, data: new Float32Array(length + 1) },
      ]
      const value = random.pick([0, 1, Number.NaN, '', null, {}, [1], ...broken])
      expectTyped(await errorOf(() => quantize({ ...good, [name]: value } as unknown as QuantizeOptions)))
    })
  })
})
