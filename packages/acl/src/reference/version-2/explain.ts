import type { Steps } from '../../checks/non-finite.js'
import type { BlockOptions } from '../../options/block-options.js'
import type { Problem } from '../../sessions/problem.js'
import { rows } from '../visibility.js'
import { operandsOf } from './operands.js'
import { unusable } from './unusable-rows.js'

/** Throws for the first row of Q, or of K and V where some row sees it, that must not be used. Returns when there is none. */
export function* explainUnusable(options: BlockOptions, problem: Problem): Steps<void> {
  const { query, key, value } = operandsOf(options, problem)
  yield
  const bad = query.scale.findIndex(Number.isNaN)
  if (bad >= 0) unusable(query, bad)
  for (const row of rows(options, problem)) {
    for (const operand of [key, value]) {
      const first = row.kvHead * problem.keyLength
      const seen = row.keys.find((j) => Number.isNaN(operand.scale[first + j]!))
      if (seen !== undefined) unusable(operand, first + seen)
    }
    if (row.row % 1024 === 1023) yield
  }
}
