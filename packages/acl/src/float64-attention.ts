import { boolean, failWith, real, record } from './checks.js'
import { requireFinite } from './non-finite.js'
import { toFloat32 } from './reference/float-tensors.js'
import { allocate, checkKeyLengths, checkTensor, requireDims, requireUnchanged } from './tensors.js'
import type { AttentionInputs } from './types.js'

/** What {@link float64Attention} takes. */
export interface Float64AttentionInputs extends Pick<AttentionInputs, 'query' | 'key' | 'value' | 'keyLengths'> {
  /** Query i sees keys j <= i + keyLength - queryLength. Default false. */
  causal?: boolean
  /** Positive; default 1 / sqrt(headDim). */
  softmaxScale?: number
}

const names = ['query', 'key', 'value', 'keyLengths', 'causal', 'softmaxScale']

/**
 * Exact attention in float64, the yardstick of accuracy: softmax(softmaxScale · Q Kᵀ) V of float32 or float16 tensors, with heads
 * and kvHeads read from their dims. Computed on the calling thread.
 *
 * @returns [batch, heads, queryLength, headDim]; zeros for rows that see no key
 * @throws {@link IntAttnError} for bad inputs
 */
export function float64Attention(given: Float64AttentionInputs): Float64Array {
  const inputs = record(given, 'inputs', names)
  const query = checkTensor(inputs.query, 'query', ['float32', 'float16'])
  const key = checkTensor(inputs.key, 'key', ['float32', 'float16'])
  const value = checkTensor(inputs.value, 'value', ['float32', 'float16'])
  const [batch, heads, queryLength, headDim] = query.dims
  const [, kvHeads, keyLength] = key.dims
  requireDims(key, [batch, kvHeads, keyLength, headDim])
  requireDims(value, key.dims)
  if (heads % kvHeads !== 0) failWith('SHAPE_MISMATCH', 'key.dims[1]', `a divisor of heads (${heads})`, `${kvHeads}`)
  const { causal: wanted = false, softmaxScale: scale = 1 / Math.sqrt(headDim) } = inputs
  const causal = boolean(wanted, 'causal')
  const softmaxScale = real(scale, 'softmaxScale', 1e-30, 1e30)
  const keyLengths = checkKeyLengths(inputs.keyLengths, batch, keyLength)
  requireUnchanged([query, key, value])
  requireFinite(query, 'fp32')
  requireFinite(key, 'fp32', keyLengths)
  requireFinite(value, 'fp32', keyLengths)

  const [q, k, v] = [toFloat32(query), toFloat32(key), toFloat32(value)]
  const output = allocate(Float64Array, q.length, 'output')
  const group = heads / kvHeads
  for (let kvHead = 0; kvHead < batch * kvHeads; kvHead++) {
    const item = Math.floor(kvHead / kvHeads)
    const present = keyLengths?.[item] ?? keyLength
    const keysBegin = kvHead * keyLength * headDim
    const headKeys = Float64Array.from(k.subarray(keysBegin, keysBegin + present * headDim))
    const headValues = Float64Array.from(v.subarray(keysBegin, keysBegin + present * headDim))
    const firstHead = item * heads + (kvHead % kvHeads) * group
    for (let row = firstHead * queryLength; row < (firstHead + group) * queryLength; row++) {
      const limit = causal ? Math.max(0, (row % queryLength) + 1 + keyLength - queryLength) : keyLength
      const visible = Math.min(present, limit)
      const queryRow = Float64Array.from(q.subarray(row * headDim, (row + 1) * headDim), (x) => x * softmaxScale)
      attendRow(queryRow, headKeys, headValues, visible, output.subarray(row * headDim, (row + 1) * headDim))
    }
  }
  return output
}

function attendRow(query: Float64Array, keys: Float64Array, values: Float64Array, visible: number, out: Float64Array) {
  const headDim = query.length
  const weights = new Float64Array(visible)
  let rowMax = Number.NEGATIVE_INFINITY
  for (let j = 0, at = 0; j < visible; j++) {
    let logit = 0
    for (let c = 0; c < headDim; c++, at++) logit += query[c]! * keys[at]!
    weights[j] = logit
    if (logit > rowMax) rowMax = logit
  }
  let sum = 0
  for (let j = 0, at = 0; j < visible; j++) {
    const weight = Math.exp(weights[j]! - rowMax)
    sum += weight
    for (let c = 0; c < headDim; c++, at++) out[c]! += weight * values[at]!
  }
  for (let c = 0; visible > 0 && c < headDim; c++) out[c]! /= sum
}
