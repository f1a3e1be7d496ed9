import { roundToFloat16 } from '../float16.js'
import type { ResolvedOptions } from '../options/options.js'
import type { Problem } from '../sessions/problem.js'
import { logitAddend } from './addends.js'
import { toFloat32 } from './float-tensors.js'
import { rows } from './visibility.js'

const greatestFloat16 = 65504

/**
 * Pipelines `fp32` and `fp16`, section 9 of version 1 of the numeric specification. Sums are float64. `fp16` rounds Q, K, V, the scaled
 * scores and the probabilities to float16; scores beyond its range saturate. Slopes, biases and sinks are added unrounded.
 */
export function floatAttention(options: ResolvedOptions, problem: Problem): Float32Array {
  const { headDim, valueDim, softmaxScale, pipeline, sinks } = options
  const half = pipeline === 'fp16'
  const operand = (tensor: Problem['query']) => (half ? toFloat32(tensor).map(roundToFloat16) : toFloat32(tensor))
  const [query, key, value] = [operand(problem.query), operand(problem.key), operand(problem.value)]
  const roundScore = half
    ? (s: number) => roundToFloat16(Math.max(-greatestFloat16, Math.min(greatestFloat16, s)))
    : (s: number) => s
  const roundProbability = half ? roundToFloat16 : (p: number) => p
  const addend = logitAddend(options, problem)

  const output = new Float32Array(problem.output.data.length)
  const logits = new Float64Array(problem.keyLength)
  for (const row of rows(options, problem)) {
    const { keys, kvHead } = row
    if (keys.length === 0) continue
    const firstKey = kvHead * problem.keyLength
    const sink = sinks ? sinks[row.head]! : Number.NEGATIVE_INFINITY
    let rowMax = sink
    for (const j of keys) {
      let dot = 0
      for (let c = 0; c < headDim; c++) dot += query[row.row * headDim + c]! * key[(firstKey + j) * headDim + c]!
      logits[j] = roundScore(dot * softmaxScale) + (addend ? addend(row, j) : 0)
      rowMax = Math.max(rowMax, logits[j]!)
    }
    let sum = 0
    for (const j of keys) sum += Math.exp(logits[j]! - rowMax)
    sum += Math.exp(sink - rowMax)
    for (let c = 0; c < valueDim; c++) {
      let weighted = 0
      for (const j of keys) {
        const probability = roundProbability(Math.exp(logits[j]! - rowMax) / sum)
        weighted += probability * value[(firstKey + j) * valueDim + c]!
      }
      output[row.row * valueDim + c] = weighted
    }
  }
  return output
}
