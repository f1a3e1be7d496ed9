import { expect } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  type AttentionResult,
  bfloat16Value,
  type EngineName,
  type FloatTensor,
  float16Value,
  type IndexIntermediates,
  type Pipeline,
  type Tensor,
} from '../../src/index.js'
import { countBeyond, expectClose, expectIdentical, relativeL2 } from './compare.js'
import { shareOf } from './random.js'

/**
 * How far outputs may be from the reference, of the largest magnitude, and the whole of them by Euclidean norm. The scores of `fp16` and
 * the probabilities of `int8` are rounded from floats, where a last bit decides between two neighbours: a few elements may be as far as
 * `rarely`.
 */
const tolerances: Record<Pipeline, { usually: number; rarely: number; norm: number }> = {
  fp32: { usually: 1e-5, rarely: 2e-5, norm: 5e-6 },
  fp16: { usually: 2e-3, rarely: 1e-2, norm: 1e-3 },
  int8: { usually: 1e-5, rarely: 2e-2, norm: 1e-2 },
  int: { usually: 1e-5, rarely: 1e-5, norm: 2e-6 },
}
/** ComputeLibrary adds up in float16 what it multiplies in float16, and stores scores before they are scaled. */
const aclTolerances: typeof tolerances = { ...tolerances, fp16: { usually: 1e-2, rarely: 2e-2, norm: 1e-2 } }
/** Of all elements; a flipped probability changes a whole row of the output. */
const rareShare = 0.02
const float16Tolerance = 1e-3

export function runOnce(options: AttentionOptions, inputs: AttentionInputs): AttentionResult<FloatTensor> {
  using attention = new Attention(options)
  return attention.runSync(inputs)
}

/** The reference engine's answer, in float32. */
export function referenceRun(options: AttentionOptions, inputs: AttentionInputs): AttentionResult<FloatTensor> {
  const { isa: _, engine: __, ...others } = options
  const { output: ___, ...given } = inputs
  return runOnce({ ...others, engine: 'reference' }, given)
}

/** What happened inside a run of version 1. */
export function indexIntermediates({ intermediates }: AttentionResult<FloatTensor>): IndexIntermediates {
  return intermediates?.version === 1 ? intermediates : expect.fail('no intermediates of version 1')
}

/** What is the same for every engine and instruction set, made once per file of tests: it takes longer than what it is compared with. */
export class Once {
  readonly #made = new Map<string, unknown>()

  get<T>(name: string, make: () => T): T {
    if (!this.#made.has(name)) this.#made.set(name, make())
    return this.#made.get(name) as T
  }
}

/** What happened inside, where both tell, is the same. */
export function expectSameIntegers(actual: AttentionResult<FloatTensor>, expected: AttentionResult<FloatTensor>): void {
  if (!actual.intermediates || !expected.intermediates) return
  const { version, ...integers } = expected.intermediates
  expect(actual.intermediates.version).toBe(version)
  for (const [name, wanted] of Object.entries(integers)) {
    expectIdentical(Reflect.get(actual.intermediates, name), wanted, name)
  }
}

/** All integers identical, output close to the reference's. */
export function expectAgreement(
  actual: AttentionResult<FloatTensor>,
  expected: AttentionResult<FloatTensor>,
  pipeline: Pipeline,
  engine: EngineName = 'native',
): void {
  expectSameIntegers(actual, expected)
  const { usually, rarely, norm } = (engine === 'acl' ? aclTolerances : tolerances)[pipeline]
  const rounding = actual.output.type === 'float16' ? float16Tolerance : 0
  const [got, wanted] = [floats(actual.output), floats(expected.output)]
  expectClose(got, wanted, rarely + rounding, 'output')
  const beyond = countBeyond(got, wanted, usually + rounding)
  const allowed = Math.max(actual.output.dims[3]!, rareShare * wanted.length)
  expect(beyond, `elements of ${wanted.length} off by more than ${usually}`).toBeLessThanOrEqual(allowed)
  expect(relativeL2(got, wanted), 'relative L2 error').toBeLessThan(norm + rounding)
}

/** A tensor's numbers. */
export function floats({ type, data }: Tensor): ArrayLike<number> {
  if (type === 'bfloat16') return Array.from(data, bfloat16Value)
  return type === 'float16' && data instanceof Uint16Array ? Array.from(data, float16Value) : (data as Float32Array)
}

/** Runs `check` for seeds first, first + 1, …; a failure names the seed that repeats it. */
export async function forSeeds(first: number, count: number, check: (seed: number) => void | Promise<void>) {
  for (let seed = first; seed < first + shareOf(count); seed++) {
    try {
      await check(seed)
    } catch (error) {
      expect.fail(`seed ${seed} (repeat with INTATTN_SEED=${seed}): ${error instanceof Error ? error.message : error}`)
    }
  }
}
