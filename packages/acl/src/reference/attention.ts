import { requireFinite, requireOutput } from '../checks/non-finite.js'
import { isBlock, isQuantized, type ResolvedOptions } from '../options/options.js'
import type { Problem } from '../sessions/problem.js'
import { requireBias } from './addends.js'
import { floatAttention } from './float-attention.js'
import { store } from './float-tensors.js'
import { integerAttention } from './integer-attention.js'
import { blockAttention } from './version-2/attention.js'

/** Computes the whole problem on the calling thread. */
export function referenceAttention(options: ResolvedOptions, problem: Problem): void {
  requireBias(problem)
  const attention = isBlock(options) ? blockAttention(options, problem) : allFinite(options, problem)
  requireOutput(problem.output.type, attention)
  store(problem.output, attention)
}

/** Pipelines that refuse what is not finite wherever it stands. */
function allFinite(options: ResolvedOptions, problem: Problem): Float32Array {
  requireFinite(problem.query, options.pipeline)
  requireFinite(problem.key, options.pipeline, problem.keyLengths)
  requireFinite(problem.value, options.pipeline, problem.keyLengths)
  return isQuantized(options) ? integerAttention(options, problem) : floatAttention(options, problem)
}
