import type { CommonOptions } from '../options/common-options.js'
import type { Problem } from '../sessions/problem.js'
import { type Broadcast, biasOf, broadcastIndex, hides } from './addends.js'

/** One query row and the keys it sees, by the rules of the numeric specification for all pipelines. */
export interface Row {
  batch: number
  /** Counts over heads. */
  head: number
  /** Counts over batch * kvHeads. */
  kvHead: number
  /** Counts over queryLength. */
  query: number
  /** Counts over batch * heads * queryLength. */
  row: number
  /** p */
  position: number
  /** Keys 0 … present - 1 are not padding. */
  present: number
  /** Those it sees, ascending; until the next row. */
  keys: Uint32Array
}

type Heads = Pick<CommonOptions, 'heads' | 'kvHeads' | 'causal' | 'window' | 'keepFirst'>
type Shape = Pick<Problem, 'batch' | 'queryLength' | 'keyLength' | 'keyLengths' | 'queryStart' | 'mask' | 'bias'>

export function* rows({ heads, kvHeads, causal, window, keepFirst }: Heads, problem: Shape): Generator<Row> {
  const { batch, queryLength, keyLength, keyLengths, queryStart } = problem
  const isMasked = maskOf(problem)
  const bias = biasOf(problem)
  const keys = new Uint32Array(keyLength)
  for (let row = 0; row < batch * heads * queryLength; row++) {
    const query = row % queryLength
    const head = Math.floor(row / queryLength) % heads
    const item = Math.floor(row / (queryLength * heads))
    const kvHead = item * kvHeads + Math.floor((head * kvHeads) / heads)
    const position = (queryStart ? queryStart[item]! : keyLength - queryLength) + query
    const present = keyLengths ? keyLengths[item]! : keyLength
    const place = { batch: item, head, query, position }
    let count = 0
    for (let j = 0; j < present; j++) {
      if (causal && j > position) break
      if (window !== undefined && j <= position - window && j >= keepFirst) continue
      if (isMasked?.(place, j) || (bias && hides(bias(place, j)))) continue
      keys[count++] = j
    }
    yield { ...place, kvHead, row, present, keys: keys.subarray(0, count) }
  }
}

function maskOf({ mask }: Shape): Broadcast<boolean> | undefined {
  if (!mask) return undefined
  const index = broadcastIndex(mask.dims)
  return (row, key) => mask.data[index(row, key)] === 0
}
