import { failWith } from '../checks/checks.js'
import type { Dims } from '../checks/scopes.js'
import { float16Value } from '../float16.js'
import type { Addends } from '../options/addends.js'
import type { Problem } from '../sessions/problem.js'
import type { Row } from './visibility.js'

/** One key's part of something that is broadcast over batch items, heads and rows. */
export type Broadcast<T> = (row: Place, key: number) => T

/** Where a row is. */
export type Place = Pick<Row, 'batch' | 'head' | 'query' | 'position'>

/** How many 1/1024 octaves a logit is: L of the numeric specification. */
export const unitsPerLogit = Math.fround(1024 * Math.LOG2E)

/** Whether a bias makes its key invisible: itself -infinity, or so low that it is in the unit of the scores. */
export const hides = (bias: number): boolean => Math.fround(bias * unitsPerLogit) === Number.NEGATIVE_INFINITY

/** Where a tensor that is broadcast to [batch, heads, queryLength, keyLength] has a row's value of a key. */
export function broadcastIndex([batch, heads, rows, keys]: Dims): Broadcast<number> {
  const [ofBatch, ofHead, ofRow] = [batch > 1 ? heads * rows : 0, heads > 1 ? rows : 0, rows > 1 ? 1 : 0]
  return (row, key) => (row.batch * ofBatch + row.head * ofHead + row.query * ofRow) * keys + key
}

/** The bias as given, in logits; undefined without one. */
export function biasOf({ bias }: Pick<Problem, 'bias'>): Broadcast<number> | undefined {
  if (!bias) return undefined
  const { data, dims, type } = bias
  const index = broadcastIndex(dims)
  return type === 'float16' ? (row, key) => float16Value(data[index(row, key)]!) : (row, key) => data[index(row, key)]!
}

/** Throws for a bias that is NaN or from 2^100 on, whatever hides its key; columns beyond all `keyLengths` are not read. */
export function requireBias(problem: Pick<Problem, 'bias' | 'keyLengths'>): void {
  const { bias, keyLengths } = problem
  if (!bias) return
  const [batch, heads, rows, keys] = bias.dims
  const valueAt = biasOf(problem)!
  for (let i = 0; i < batch * heads * rows; i++) {
    const place = {
      batch: Math.floor(i / (heads * rows)),
      head: Math.floor(i / rows) % heads,
      query: i % rows,
      position: 0,
    }
    const present = !keyLengths ? keys : batch > 1 ? keyLengths[place.batch]! : Math.max(...keyLengths)
    for (let j = 0; j < present; j++) {
      const value = valueAt(place, j)
      if (value < 2 ** 100) continue
      const received = `${value} at [${place.batch}, ${place.head}, ${place.query}, ${j}]`
      failWith('NON_FINITE', 'bias', 'numbers below 2^100, or -Infinity,', received)
    }
  }
}

/** Slope and bias in logits, in float64; undefined where there is neither. */
export function logitAddend({ alibiSlopes }: Addends, problem: Pick<Problem, 'bias'>): Broadcast<number> | undefined {
  const bias = biasOf(problem)
  if (!alibiSlopes) return bias
  return (row, key) => alibiSlopes[row.head]! * (key - row.position) + (bias ? bias(row, key) : 0)
}
