import { expect } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  type AttentionResult,
  float16Value,
  type Intermediates,
  type Pipeline,
  type Tensor,
} from '../../src/index.js'
import { expectClose, expectIdentical } from './compare.js'

/**
 * How far outputs may be from the reference, of the largest magnitude. The scores of `fp16` and the probabilities of `int8` are
 * rounded from floats, where a last bit decides between two neighbours.
 */
const tolerances: Record<Pipeline, number> = { fp32: 2e-5, fp16: 1e-2, int8: 2e-2, int: 1e-5 }
const float16Tolerance = 1e-3

export function runOnce(options: AttentionOptions, inputs: AttentionInputs): AttentionResult {
  using attention = new Attention(options)
  return attention.runSync(inputs)
}

/** The reference engine's answer, in float32. */
export function referenceRun(options: AttentionOptions, inputs: AttentionInputs): AttentionResult {
  const { isa: _, ...others } = options
  const { output: __, ...given } = inputs
  return runOnce({ ...others, engine: 'reference' }, given)
}

/** All integers identical, output close to the reference's. */
export function expectAgreement(actual: AttentionResult, expected: AttentionResult, pipeline: Pipeline): void {
  if (actual.intermediates && expected.intermediates) {
    for (const name of Object.keys(expected.intermediates) as (keyof Intermediates)[]) {
      expectIdentical(actual.intermediates[name]!, expected.intermediates[name]!, name)
    }
  }
  const tolerance = tolerances[pipeline] + (actual.output.type === 'float16' ? float16Tolerance : 0)
  expectClose(floats(actual.output), floats(expected.output), tolerance, 'output')
}

/** A tensor's numbers. */
export function floats({ type, data }: Tensor): ArrayLike<number> {
  return type === 'float16' && data instanceof Uint16Array ? Array.from(data, float16Value) : (data as Float32Array)
}

/** Runs `check` for seeds first, first + 1, …; a failure names the seed that repeats it. */
export async function forSeeds(first: number, count: number, check: (seed: number) => void | Promise<void>) {
  for (let seed = first; seed < first + count; seed++) {
    try {
      await check(seed)
    } catch (error) {
      expect.fail(`seed ${seed} (repeat with INTATTN_SEED=${seed}): ${error instanceof Error ? error.message : error}`)
    }
  }
}
