import { float16Value, roundTiesToEven } from '../float16.js'
import { type IntegerOptions, isInteger, type QuantizedOptions } from '../options.js'
import type { Problem } from '../problem.js'
import { type Scope, scaleIndex } from '../scopes.js'
import type { CheckedTensor } from '../tensors.js'
import { toFloat32 } from './float-tensors.js'
import { indexParameters, indexSoftmaxRow, weightTable } from './index-softmax.js'
import { type Quantized, quantizeReference } from './quantize.js'
import { type Row, rows } from './visibility.js'

/** Pipelines `int8` and `int`: sections 1 to 7 and 9 of the numeric specification. */
export function integerAttention(options: QuantizedOptions, problem: Problem): Float32Array {
  const { quantization, smoothKey, centerValue, headDim } = options
  const { queryLength, keyLength, keyLengths, intermediates } = problem
  const query = quantizeTensor(problem.query, quantization.query, false)
  const key = quantizeTensor(problem.key, quantization.key, smoothKey, keyLengths)
  const value = quantizeTensor(problem.value, quantization.value, centerValue, keyLengths)
  intermediates?.queryInt8.set(query.quantized)
  intermediates?.keyInt8.set(key.quantized)
  intermediates?.valueInt8.set(value.quantized)
  intermediates?.queryScale.set(query.scale)
  intermediates?.keyScale.set(key.scale)
  intermediates?.valueScale.set(value.scale)
  intermediates?.valueCenter.set(value.mean)

  const logitScale = ({ head, kvHead, row }: Row): number => {
    const ofQuery = query.scale[scaleIndex(quantization.query, problem.query.dims, head, row % queryLength, 0)]!
    const ofKey = key.scale[scaleIndex(quantization.key, problem.key.dims, kvHead, 0, 0)]!
    return ofQuery * ofKey * options.softmaxScale
  }
  const valueScale = (kvHead: number, column: number): number =>
    value.scale[scaleIndex(quantization.value, problem.value.dims, kvHead, 0, column)]!

  const output = new Float32Array(problem.query.data.length)
  const scores = new Int32Array(keyLength)
  const softmax = isInteger(options) ? indexSoftmax(options, problem) : floatSoftmax(keyLength)
  for (const row of rows(options, problem)) {
    scores.fill(0)
    for (let j = 0; j < row.present; j++) {
      const [q, k] = [row.row * headDim, (row.kvHead * keyLength + j) * headDim]
      for (let c = 0; c < headDim; c++) scores[j]! += query.quantized[q + c]! * key.quantized[k + c]!
    }
    intermediates?.scores.set(scores, row.row * keyLength)
    if (row.visible === 0) continue

    const { probabilities, factor, lost } = softmax(row, scores, logitScale(row))
    for (let c = 0; c < headDim; c++) {
      let accumulator = 0
      for (let j = 0; j < row.visible; j++) {
        accumulator += probabilities[j]! * value.quantized[(row.kvHead * keyLength + j) * headDim + c]!
      }
      const scale = valueScale(row.kvHead, c)
      const center = value.mean[row.kvHead * headDim + c]!
      const offset = lost === 0 ? 0 : lost * (visibleMean(problem, row, c, scale) - center)
      output[row.row * headDim + c] = center + accumulator * scale * factor + offset
    }
  }
  return output
}

interface Probabilities {
  probabilities: Uint8Array
  /** What one unit of probability stands for. */
  factor: number
  /** The share of the row's mass that the probabilities cannot hold. */
  lost: number
}
type Softmax = (row: Row, scores: Int32Array, logitScale: number) => Probabilities

function indexSoftmax(options: IntegerOptions, { keyLength, intermediates }: Problem): Softmax {
  const { normalization } = options
  const table = weightTable(options)
  return (row, scores, logitScale) => {
    const out = {
      probabilities: new Uint8Array(keyLength),
      rowSum: new Uint32Array(1),
      lost: new Int32Array(1),
    }
    const span = { row: 0, start: 0, cols: row.visible, isValid: () => true }
    indexSoftmaxRow(scores, span, indexParameters(options, logitScale), table, normalization, out)
    intermediates?.probabilities?.set(out.probabilities, row.row * keyLength)
    intermediates?.rowSum?.set(out.rowSum, row.row)
    intermediates?.lost?.set(out.lost, row.row)

    const { probabilities } = out
    if (normalization === 'integer') return { probabilities, factor: 1 / 255, lost: 0 }
    const rowSum = out.rowSum[0]!
    return { probabilities, factor: table.unit / rowSum, lost: out.lost[0]! / rowSum }
  }
}

/** `int8`: the probabilities are round(127 softmax). */
function floatSoftmax(keyLength: number): Softmax {
  const probabilities = new Uint8Array(keyLength)
  return ({ visible }, scores, logitScale) => {
    let rowMax = Number.NEGATIVE_INFINITY
    for (let j = 0; j < visible; j++) rowMax = Math.max(rowMax, scores[j]!)
    const exponential = (j: number) => Math.exp(logitScale * (scores[j]! - rowMax))
    let sum = 0
    for (let j = 0; j < visible; j++) sum += exponential(j)
    for (let j = 0; j < visible; j++) probabilities[j] = roundTiesToEven((127 * exponential(j)) / sum)
    return { probabilities, factor: 1 / 127, lost: 0 }
  }
}

function quantizeTensor(tensor: CheckedTensor, scope: Scope, center: boolean, lengths?: Uint32Array): Quantized {
  const { argument, dims, data, scale } = tensor
  if (tensor.type !== 'int8') {
    return quantizeReference({ argument, values: toFloat32(tensor), dims, scope, center, lengths })
  }
  const [batch, heads, length, headDim] = dims
  const quantized = Int8Array.from(data)
  for (let head = 0; lengths && head < batch * heads; head++) {
    const present = lengths[Math.floor(head / heads)]!
    quantized.fill(0, (head * length + present) * headDim, (head + 1) * length * headDim)
  }
  return { quantized, scale: scale!, mean: new Float32Array(batch * heads * headDim) }
}

/** Mean of a channel of V as given, before quantization, over the keys a row sees. */
function visibleMean({ value, keyLength }: Problem, { kvHead, visible }: Row, column: number, scale: number): number {
  const headDim = value.dims[3]
  const first = kvHead * keyLength * headDim + column
  let sum = 0
  if (value.type === 'int8') {
    for (let j = 0; j < visible; j++) sum += value.data[first + j * headDim]!
    return (sum / visible) * scale
  }
  const half = value.type === 'float16'
  for (let j = 0; j < visible; j++) {
    const element = value.data[first + j * headDim]!
    sum += half ? float16Value(element) : element
  }
  return sum / visible
}
