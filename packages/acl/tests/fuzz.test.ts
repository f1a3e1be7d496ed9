import { describe, expect, test } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  type AttentionResult,
  type BlockIntermediates,
  type FloatTensor,
  type IndexSoftmaxOptions,
  indexSoftmax,
  type Pipeline,
  type QuantizeOptions,
  quantize,
  type Tensor,
} from '../src/index.js'
import { expectAgreement, expectSameIntegers, forSeeds, referenceRun, runOnce } from './support/agreement.js'
import { randomBlockProblem } from './support/block-problems.js'
import { expectIdentical } from './support/compare.js'
import { choices } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { availableIsas } from './support/instruction-sets.js'
import { numbers } from './support/layouts.js'
import { type RandomProblem, randomProblem } from './support/problems.js'
import { Random, seedOf } from './support/random.js'
import { scramble, spoil } from './support/spoil.js'
import { tensor } from './support/tensors.js'

const small = { maxLength: 14, maxHeadDim: 20 }
/** More keys than a block has. */
const blocks = { maxLength: 150, maxHeadDim: 20 }

/** How many configurations are drawn altogether; INTATTN_FUZZ. */
const configurations = Number(process.env.INTATTN_FUZZ ?? 1000)
const partOf = (share: number): number => Math.max(1, Math.round(share * configurations))
/** Another one each minute. */
const seed = seedOf((Math.floor(Date.now() / 60_000) * 1000) % 2 ** 31)
console.log(`fuzz: ${configurations} configurations from seed ${seed}; INTATTN_FUZZ and INTATTN_SEED set them`)

const anyProblem = (random: Random): RandomProblem =>
  random.chance(0.5) ? randomBlockProblem(random, { ...blocks, maxLength: 70 }) : randomProblem(random, small)

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

/** What a run gives, or what it throws. */
async function outcomeOf(run: () => AttentionResult<FloatTensor> | Promise<AttentionResult<FloatTensor>>) {
  try {
    return { result: await run() }
  } catch (error) {
    return { error }
  }
}

/**
 * Of the largest value: a score or a probability that is rounded to the neighbouring number moves a whole row, and outputs of a few keys
 * may cancel to nearly nothing.
 */
const tolerances: Record<Pipeline, number> = { fp32: 1e-4, fp16: 2e-2, int8: 2e-2, int: 1e-5 }

/** Outputs of the same type and any layout, whatever the seed. */
function expectNearlySame(
  actual: AttentionResult<FloatTensor>,
  expected: AttentionResult<FloatTensor>,
  pipeline: Pipeline,
  value: Tensor,
): void {
  // What no row sees may be anything.
  const values = numbers(value).filter(Number.isFinite)
  const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0) * Math.max(...(value.scale ?? [1]))
  const rounding = { float32: 0, float16: 1e-3, bfloat16: 8e-3 }[actual.output.type]
  const allowed = (tolerances[pipeline] + rounding) * largest
  const [got, wanted] = [numbers(actual.output), numbers(expected.output)]
  expect(got.length).toBe(wanted.length)
  const beyond = got.findIndex((x, i) => !(Math.abs(x - wanted[i]!) <= allowed))
  if (beyond >= 0) expect.fail(`output[${beyond}]: ${got[beyond]}, expected ${wanted[beyond]} ± ${allowed}`)
}

/** Every integer and scale; those of a key or value that must not be seen, and of its scores, mean nothing. */
function expectSameInside(actual: AttentionResult<FloatTensor>, expected: AttentionResult<FloatTensor>): void {
  const [got, wanted] = [actual.intermediates, expected.intermediates]
  if (got?.version !== 2 || wanted?.version !== 2) return
  const forget = (inside: BlockIntermediates, scale: Float32Array, name: 'keyInt8' | 'valueInt8') => {
    const dim = inside[name].length / scale.length
    return inside[name].map((q, i) => (Number.isNaN(scale[Math.floor(i / dim)]!) ? 0 : q))
  }
  const known = (inside: BlockIntermediates) => ({
    ...inside,
    keyInt8: forget(inside, wanted.keyScale, 'keyInt8'),
    valueInt8: forget(inside, wanted.valueScale, 'valueInt8'),
    scores: wanted.keyScale.some(Number.isNaN) ? [] : inside.scores,
  })
  const inside = known(got)
  for (const [name, array] of Object.entries(known(wanted))) {
    if (typeof array === 'object') expectIdentical(Reflect.get(inside, name), array, name)
  }
}

describe('fuzz', () => {
  test('valid problems of version 1 and of floats give what the reference gives', async () => {
    await forSeeds(seed, partOf(0.2), async (s) => {
      const random = new Random(s)
      const { options, inputs: drawn } = randomProblem(random, small)
      const choice = random.pick(choices)
      const { pipeline } = options
      const [batch, , queryLength] = drawn.query.dims
      const queryStart = Int32Array.from({ length: batch! }, () => random.integer(-3, queryLength!))
      const inputs = { ...drawn, ...(choice.engine !== 'acl' && random.chance(0.3) && { queryStart }) }
      const integers = (pipeline === 'int' || pipeline === 'int8') && random.chance(0.5)
      const wanted = { ...inputs, ...(integers && { intermediates: true }) }
      const actual = await attempt(random, { ...options, ...choice }, wanted)
      expect(numbers(actual.output).every(Number.isFinite)).toBe(true)
      const expected = referenceRun(options, wanted)
      expectSameIntegers(actual, expected)
      if (choice.engine === 'acl') expectAgreement(actual, expected, pipeline ?? 'int', choice.engine)
      else expectNearlySame(actual, expected, pipeline ?? 'int', inputs.value)
    })
  })

  test('problems of version 2, and masked ones of floats, give what the reference gives', async () => {
    await forSeeds(seed, partOf(0.4), async (s) => {
      const random = new Random(s)
      const { options, inputs } = randomBlockProblem(random, blocks)
      const { output: given, ...others } = inputs
      const output = given && { ...given, data: (given.data as Float32Array).slice() }
      const isa = random.pick(availableIsas)
      const wanted = { ...others, ...(output && { output: output as FloatTensor }) }
      const reference = await outcomeOf(() => runOnce({ ...options, engine: 'reference' }, inputs))
      const native = await outcomeOf(() => attempt(random, { ...options, isa }, wanted))
      const [expected, actual] = [reference.result, native.result]
      if (!expected || !actual) {
        expect(Boolean(actual), `${isa}: ${native.error}; reference: ${reference.error}`).toBe(Boolean(expected))
        // Where several things are wrong, engines may find another one first.
        for (const { error } of [reference, native]) expectTyped(error)
        return
      }
      const pipeline = options.pipeline ?? 'int'
      if (pipeline !== 'int') return expectNearlySame(actual, expected, pipeline, inputs.value)
      expectIdentical(numbers(actual.output), numbers(expected.output), `output on ${isa}`)
      expectSameInside(actual, expected)
      for (const [i, x] of actual.logSumExp?.entries() ?? []) {
        const y = expected.logSumExp![i]!
        expect(x === y || Math.abs(x - y) <= 1e-4 * Math.max(1, Math.abs(y)), `logSumExp[${i}]: ${x}, ${y}`).toBe(true)
      }
    })
  })

  test('problems spoiled in one place give a typed error', async () => {
    await forSeeds(seed, partOf(0.2), async (s) => {
      const random = new Random(s)
      const { what, options, inputs } = spoil(random, anyProblem(random))
      const error = await errorOf(() => attempt(random, options, inputs)).catch(() => expect.fail(`${what}: no error`))
      try {
        expectTyped(error)
      } catch (failure) {
        expect.fail(`${what}: ${failure instanceof Error ? failure.message : failure}`)
      }
    })
  })

  test('problems with anything anywhere give finite numbers or a typed error', async () => {
    await forSeeds(seed, partOf(0.1), async (s) => {
      const random = new Random(s)
      const { what, options, inputs } = scramble(random, anyProblem(random))
      try {
        const { output } = await attempt(random, options, inputs)
        expect(numbers(output).every(Number.isFinite), what).toBe(true)
      } catch (error) {
        expectTyped(error)
      }
    })
  })

  test('calls of indexSoftmax, half of them spoiled', async () => {
    await forSeeds(seed, partOf(0.05), async (s) => {
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

  test('calls of quantize, half of them spoiled', async () => {
    await forSeeds(seed, partOf(0.05), async (s) => {
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
