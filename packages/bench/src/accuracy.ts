import { float64Attention } from '@intattn/acl'
import { type Input, usefulMacs } from './input.js'

/** How far an output is from attention in float64. */
export interface Accuracy {
  /** |output - exact| / |exact|, Euclidean norms over all compared elements. */
  relL2: number
  cosine: number
  maxAbs: number
  /** Compared query rows of each head; fewer than queryLength when computing all would take too long. */
  rows: number
}

/** Multiply-accumulates of float64 attention beyond which rows are sampled: a few seconds. */
const MAX_EXACT_MACS = 2e9

/** Float64 attention on some query rows of an input: `exact` is [batch, heads, rows, headDim]. */
export interface Exact {
  rows: readonly number[]
  exact: Float64Array
}

/** Which query rows to compare: all, or an even spread from the first to the last. */
export function comparedRows(input: Input, maxMacs = MAX_EXACT_MACS): number[] {
  const { queryLength } = input
  const affordable = Math.max(2, Math.floor(queryLength * (maxMacs / usefulMacs(input))))
  if (affordable >= queryLength) return Array.from({ length: queryLength }, (_, row) => row)
  return Array.from({ length: affordable }, (_, i) => Math.round((i * (queryLength - 1)) / (affordable - 1)))
}

/** One query row of every head, [batch, heads, 1, headDim]. */
function gatherRow({ batch, heads, queryLength, headDim, query }: Input, row: number): Float32Array {
  const gathered = new Float32Array(batch * heads * headDim)
  for (let head = 0; head < batch * heads; head++) {
    const begin = (head * queryLength + row) * headDim
    gathered.set(query.subarray(begin, begin + headDim), head * headDim)
  }
  return gathered
}

/** Attention in float64 from the float32 input, on the rows of {@link comparedRows}. */
export function exactAttention(input: Input, maxMacs?: number): Exact {
  const { batch, heads, kvHeads, queryLength, keyLength, headDim, causal, window, softmaxScale } = input
  const rows = comparedRows(input, maxMacs)
  const limit = window === undefined ? {} : { window }
  const float32 = (data: Float32Array, dims: number[]) => ({ type: 'float32' as const, dims, data })
  const key = float32(input.key, [batch, kvHeads, keyLength, headDim])
  const value = float32(input.value, [batch, kvHeads, keyLength, headDim])
  if (rows.length === queryLength) {
    const query = float32(input.query, [batch, heads, queryLength, headDim])
    return { rows, exact: float64Attention({ query, key, value, causal, softmaxScale, ...limit }) }
  }
  const exact = new Float64Array(batch * heads * rows.length * headDim)
  rows.forEach((row, index) => {
    const query = float32(gatherRow(input, row), [batch, heads, 1, headDim])
    const queryStart = new Array<number>(batch).fill(row + keyLength - queryLength)
    const result = float64Attention({ query, key, value, causal, softmaxScale, queryStart, ...limit })
    for (let head = 0; head < batch * heads; head++) {
      exact.set(result.subarray(head * headDim, (head + 1) * headDim), (head * rows.length + index) * headDim)
    }
  })
  return { rows, exact }
}

/** Compares an output [batch, heads, queryLength, headDim] with {@link exactAttention} of the same input. */
export function compare(output: Float32Array, { rows, exact }: Exact, input: Input): Accuracy {
  const { batch, heads, queryLength, headDim } = input
  let error = 0
  let maxAbs = 0
  let dot = 0
  let outputSquare = 0
  let exactSquare = 0
  let at = 0
  for (let head = 0; head < batch * heads; head++) {
    for (const row of rows) {
      const begin = (head * queryLength + row) * headDim
      for (let c = begin; c < begin + headDim; c++, at++) {
        const got = output[c]!
        const want = exact[at]!
        error += (got - want) ** 2
        maxAbs = Math.max(maxAbs, Math.abs(got - want))
        dot += got * want
        outputSquare += got * got
        exactSquare += want * want
      }
    }
  }
  return {
    relL2: exactSquare > 0 ? Math.sqrt(error / exactSquare) : Math.sqrt(error),
    cosine: outputSquare > 0 && exactSquare > 0 ? dot / Math.sqrt(outputSquare * exactSquare) : 0,
    maxAbs,
    rows: rows.length,
  }
}
