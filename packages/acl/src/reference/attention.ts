import { requireFinite, requireOutput } from '../non-finite.js'
import { isQuantized, type ResolvedOptions } from '../options.js'
import type { Problem } from '../problem.js'
import { floatAttention } from './float-attention.js'
import { store } from './float-tensors.js'
import { integerAttention } from './integer-attention.js'

/** Computes the whole problem on the calling thread. */
export function referenceAttention(options: ResolvedOptions, problem: Problem): void {
  requireFinite(problem.query, options.pipeline)
  requireFinite(problem.key, options.pipeline, problem.keyLengths)
  requireFinite(problem.value, options.pipeline, problem.keyLengths)
  const attention = isQuantized(options) ? integerAttention(options, problem) : floatAttention(options, problem)
  requireOutput(problem.output.type, attention)
  store(problem.output, attention)
}
