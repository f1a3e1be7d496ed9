import { type Scope, scaleIndex } from '../checks/scopes.js'
import type { CheckedTensor } from '../checks/tensors.js'
import { float16Value, roundTiesToEven } from '../float16.js'
import type { IndexOptions, QuantizedOptions } from '../options/index-options.js'
import { isIndex, type ResolvedOptions } from '../options/options.js'
import type { Problem } from '../sessions/problem.js'
import type { IndexIntermediates } from '../types.js'
import { logitAddend } from './addends.js'
import { toFloat32 } from './float-tensors.js'
import { indexParameters, indexSoftmaxRow, weightTable } from './index-softmax.js'
import { type Quantized, quantizeReference } from './quantize.js'
import { type Row, rows } from './visibility.js'

/** Pipeline `int8`, and `int` of version 1: sections 1 to 7 and 9 of that version of the numeric specification. */
export function integerAttention(options: ResolvedOptions & QuantizedOptions, problem: Problem): Float32Array {
  const { quantization, smoothKey, centerValue, headDim, valueDim } = options
  const { keyLength, keyLengths } = problem
  const intermediates = indexIntermediates(problem)
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

  const logitScale = ({ batch, head, kvHead, query: i }: Row): number => {
    const group = batch * options.heads + head
    const ofQuery = query.scale[scaleIndex(quantization.query, problem.query.dims, group, i, 0)]!
    const ofKey = key.scale[scaleIndex(quantization.key, problem.key.dims, kvHead, 0, 0)]!
    return ofQuery * ofKey * options.softmaxScale
  }
  const valueScale = (kvHead: number, column: number): number =>
    value.scale[scaleIndex(quantization.value, problem.value.dims, kvHead, 0, column)]!

  const output = new Float32Array(problem.output.data.length)
  const scores = new Int32Array(keyLength)
  const softmax = isIndex(options) ? indexSoftmax(options, problem) : floatSoftmax(options, problem)
  for (const row of rows(options, problem)) {
    const { keys } = row
    scores.fill(0)
    for (let j = 0; j < row.present; j++) {
      const [q, k] = [row.row * headDim, (row.kvHead * keyLength + j) * headDim]
      for (let c = 0; c < headDim; c++) scores[j]! += query.quantized[q + c]! * key.quantized[k + c]!
    }
    intermediates?.scores.set(scores, row.row * keyLength)
    if (keys.length === 0) continue

    const { probabilities, factor, lost } = softmax(row, scores, logitScale(row))
    for (let c = 0; c < valueDim; c++) {
      let accumulator = 0
      for (const [at, j] of keys.entries()) {
        accumulator += probabilities[at]! * value.quantized[(row.kvHead * keyLength + j) * valueDim + c]!
      }
      const scale = valueScale(row.kvHead, c)
      const center = value.mean[row.kvHead * valueDim + c]!
      const offset = lost === 0 ? 0 : lost * (visibleMean(problem, row, c, scale) - center)
      output[row.row * valueDim + c] = center + accumulator * scale * factor + offset
    }
  }
  return output
}

interface Probabilities {
  /** Of the keys that the row sees, one after the other. */
  probabilities: Uint8Array
  /** What one unit of probability stands for. */
  factor: number
  /** The share of the row's mass that the probabilities cannot hold. */
  lost: number
}
type Softmax = (row: Row, scores: Int32Array, logitScale: number) => Probabilities

function indexSoftmax(options: IndexOptions, problem: Problem): Softmax {
  const { normalization } = options
  const intermediates = indexIntermediates(problem)
  const table = weightTable(options)
  return ({ keys, row }, scores, logitScale) => {
    const cols = keys.length
    const out = { probabilities: new Uint8Array(cols), rowSum: new Uint32Array(1), lost: new Int32Array(1) }
    const seen = Int32Array.from(keys, (j) => scores[j]!)
    const span = { row: 0, start: 0, cols, isValid: () => true }
    indexSoftmaxRow(seen, span, indexParameters(options, logitScale), table, normalization, out)

    const { probabilities } = out
    for (const [at, j] of intermediates ? keys.entries() : []) {
      intermediates!.probabilities![row * problem.keyLength + j] = probabilities[at]!
    }
    intermediates?.rowSum?.set(out.rowSum, row)
    intermediates?.lost?.set(out.lost, row)
    if (normalization === 'integer') return { probabilities, factor: 1 / 255, lost: 0 }
    const rowSum = out.rowSum[0]!
    return { probabilities, factor: table.unit / rowSum, lost: out.lost[0]! / rowSum }
  }
}

/** `int8`: the probabilities are round(127 softmax). */
function floatSoftmax(options: QuantizedOptions, problem: Problem): Softmax {
  const addend = logitAddend(options, problem)
  const logits = new Float64Array(problem.keyLength)
  return (row, scores, logitScale) => {
    const { keys } = row
    let greatest = Number.NEGATIVE_INFINITY
    for (const j of keys) greatest = Math.max(greatest, scores[j]!)
    const sink = options.sinks ? options.sinks[row.head]! - logitScale * greatest : Number.NEGATIVE_INFINITY
    let rowMax = sink
    for (const [at, j] of keys.entries()) {
      logits[at] = logitScale * (scores[j]! - greatest) + (addend ? addend(row, j) : 0)
      rowMax = Math.max(rowMax, logits[at]!)
    }
    let sum = Math.exp(sink - rowMax)
    for (let at = 0; at < keys.length; at++) sum += Math.exp(logits[at]! - rowMax)
    const probabilities = Uint8Array.from(keys, (_, at) =>
      roundTiesToEven((127 * Math.exp(logits[at]! - rowMax)) / sum),
    )
    return { probabilities, factor: 1 / 127, lost: 0 }
  }
}

function indexIntermediates({ intermediates }: Problem): IndexIntermediates | undefined {
  return intermediates?.version === 1 ? intermediates : undefined
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
function visibleMean({ value, keyLength }: Problem, { kvHead, keys }: Row, column: number, scale: number): number {
  const valueDim = value.dims[3]
  const first = kvHead * keyLength * valueDim + column
  const half = value.type === 'float16'
  let sum = 0
  for (const j of keys) {
    const element = value.data[first + j * valueDim]!
    sum += half ? float16Value(element) : element
  }
  return (sum / keys.length) * (value.type === 'int8' ? scale : 1)
}
