import type { ResolvedOptions } from '../options.js'
import type { Problem } from '../problem.js'

/** One query row and the keys it sees; section 7 of the numeric specification. */
export interface Row {
  batch: number
  /** Counts over batch * heads. */
  head: number
  /** Counts over batch * kvHeads. */
  kvHead: number
  /** Counts over batch * heads * queryLength. */
  row: number
  /** Keys 0 … present - 1 are not padding. */
  present: number
  /** Keys 0 … visible - 1 are seen. */
  visible: number
}

export function* rows(options: ResolvedOptions, problem: Problem): Generator<Row> {
  const { heads, kvHeads, causal } = options
  const { batch, queryLength, keyLength, keyLengths } = problem
  for (let head = 0; head < batch * heads; head++) {
    const item = Math.floor(head / heads)
    const kvHead = item * kvHeads + Math.floor(((head % heads) * kvHeads) / heads)
    const present = keyLengths ? keyLengths[item]! : keyLength
    for (let i = 0; i < queryLength; i++) {
      const limit = causal ? Math.max(0, i + 1 + keyLength - queryLength) : keyLength
      yield { batch: item, head, kvHead, row: head * queryLength + i, present, visible: Math.min(present, limit) }
    }
  }
}
