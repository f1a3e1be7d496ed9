import { roundToFloat16 } from '../float16.js'
import type { ResolvedOptions } from '../options.js'
import type { Problem } from '../problem.js'
import { toFloat32 } from './float-tensors.js'
import { rows } from './visibility.js'

const greatestFloat16 = 65504

/**
 * Pipelines `fp32` and `fp16`, section 9 of the numeric specification. Sums are float64. `fp16` rounds Q, K, V, the scaled scores and
 * the probabilities to float16; scores beyond its range saturate.
 */
export function floatAttention(options: ResolvedOptions, problem: Problem): Float32Array {
  const { headDim, softmaxScale, pipeline } = options
  const half = pipeline === 'fp16'
  const operand = (tensor: Problem['query']) => (half ? toFloat32(tensor).map(roundToFloat16) : toFloat32(tensor))
  const [query, key, value] = [operand(problem.query), operand(problem.key), operand(problem.value)]
  const roundScore = half
    ? (s: number) => roundToFloat16(Math.max(-greatestFloat16, Math.min(greatestFloat16, s)))
    : (s: number) => s
  const roundProbability = half ? roundToFloat16 : (p: number) => p

  const output = new Float32Array(query.length)
  const logits = new Float64Array(problem.keyLength)
  for (const { kvHead, row, visible } of rows(options, problem)) {
    const firstKey = kvHead * problem.keyLength
    let rowMax = Number.NEGATIVE_INFINITY
    for (let j = 0; j < visible; j++) {
      let dot = 0
      for (let c = 0; c < headDim; c++) dot += query[row * headDim + c]! * key[(firstKey + j) * headDim + c]!
      logits[j] = roundScore(dot * softmaxScale)
      rowMax = Math.max(rowMax, logits[j]!)
    }
    let sum = 0
    for (let j = 0; j < visible; j++) sum += Math.exp(logits[j]! - rowMax)
    for (let c = 0; c < headDim; c++) {
      let weighted = 0
      for (let j = 0; j < visible; j++) {
        const probability = roundProbability(Math.exp(logits[j]! - rowMax) / sum)
        weighted += probability * value[(firstKey + j) * headDim + c]!
      }
      output[row * headDim + c] = weighted
    }
  }
  return output
}
