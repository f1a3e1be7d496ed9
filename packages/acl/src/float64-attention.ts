import { failWith, record } from './checks/checks.js'
import { plain } from './checks/dense.js'
import { checkMasks, maskNames } from './checks/masks.js'
import { requireFinite } from './checks/non-finite.js'
import { allocate, checkTensor, requireDims, requireUnchanged } from './checks/tensors.js'
import { type Addends, resolveAddends } from './options/addends.js'
import { resolveScale, resolveVisibility, type VisibilityOptions, visibilityNames } from './options/common-options.js'
import { logitAddend, requireBias } from './reference/addends.js'
import { toFloat32 } from './reference/float-tensors.js'
import { rows } from './reference/visibility.js'
import type { AttentionInputs, AttentionOptions } from './types.js'

type Inputs = Pick<AttentionInputs, 'query' | 'key' | 'value' | 'keyLengths' | 'queryStart' | 'mask' | 'bias'>
type Options = Pick<AttentionOptions, 'causal' | 'window' | 'keepFirst' | 'softmaxScale' | 'alibiSlopes' | 'sinks'>

/** What {@link float64Attention} takes: names and defaults as of {@link Attention}. */
export interface Float64AttentionInputs extends Inputs, Options {}

const floatTypes = ['float32', 'float16', 'bfloat16'] as const
const names = ['query', 'key', 'value', ...maskNames, ...visibilityNames, 'softmaxScale', 'alibiSlopes', 'sinks']

/**
 * Exact attention in float64, the yardstick of accuracy: softmax(softmaxScale · Q Kᵀ) V of tensors of floats, with heads
 * and kvHeads read from their dims. Computed on the calling thread.
 *
 * @returns [batch, heads, queryLength, valueDim]; zeros for rows that see no key
 * @throws {@link IntAttnError} for bad inputs
 */
export function float64Attention(given: Float64AttentionInputs): Float64Array {
  const inputs = record(given, 'inputs', names)
  const query = plain(checkTensor(inputs.query, 'query', floatTypes))
  const key = plain(checkTensor(inputs.key, 'key', floatTypes))
  const value = plain(checkTensor(inputs.value, 'value', floatTypes))
  const [batch, heads, queryLength, headDim] = query.dims
  const [, kvHeads, keyLength] = key.dims
  const valueDim = value.dims[3]
  requireDims(key, [batch, kvHeads, keyLength, headDim])
  requireDims(value, [batch, kvHeads, keyLength, valueDim])
  if (heads % kvHeads !== 0) failWith('SHAPE_MISMATCH', 'key.dims[1]', `a divisor of heads (${heads})`, `${kvHeads}`)
  const softmaxScale = resolveScale(inputs.softmaxScale, headDim)
  const options: VisibilityOptions & Addends = { ...resolveVisibility(inputs), ...resolveAddends(inputs, heads) }
  const checked = checkMasks(inputs, [batch, heads, queryLength, keyLength])
  const masks = { ...checked, mask: checked.mask && plain(checked.mask), bias: checked.bias && plain(checked.bias) }
  const { keyLengths, mask, bias } = masks
  requireUnchanged([query, key, value, mask, bias].filter((tensor) => tensor !== undefined))
  requireFinite(query, 'fp32')
  requireFinite(key, 'fp32', keyLengths)
  requireFinite(value, 'fp32', keyLengths)
  requireBias(masks)

  const [q, k, v] = [query, key, value].map((tensor) => new Float64Array(toFloat32(tensor))) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  const addend = logitAddend(options, masks)
  const output = allocate(Float64Array, batch * heads * queryLength * valueDim, 'output')
  for (const row of rows({ heads, kvHeads, ...options }, { batch, queryLength, keyLength, ...masks })) {
    attendRow({
      query: q.subarray(row.row * headDim, (row.row + 1) * headDim).map((x) => x * softmaxScale),
      keys: k.subarray(row.kvHead * keyLength * headDim, (row.kvHead + 1) * keyLength * headDim),
      values: v.subarray(row.kvHead * keyLength * valueDim, (row.kvHead + 1) * keyLength * valueDim),
      seen: row.keys,
      addend: addend && ((j) => addend(row, j)),
      sink: options.sinks?.[row.head] ?? Number.NEGATIVE_INFINITY,
      out: output.subarray(row.row * valueDim, (row.row + 1) * valueDim),
    })
  }
  return output
}

interface ExactRow {
  query: Float64Array
  /** [keyLength, headDim] */
  keys: Float64Array
  /** [keyLength, valueDim] */
  values: Float64Array
  seen: Uint32Array
  addend: ((key: number) => number) | undefined
  sink: number
  out: Float64Array
}

function attendRow({ query, keys, values, seen, addend, sink, out }: ExactRow): void {
  if (seen.length === 0) return
  const [headDim, valueDim] = [query.length, out.length]
  const weights = new Float64Array(seen.length)
  let rowMax = sink
  for (let i = 0; i < seen.length; i++) {
    let logit = addend ? addend(seen[i]!) : 0
    for (let c = 0, at = seen[i]! * headDim; c < headDim; c++, at++) logit += query[c]! * keys[at]!
    weights[i] = logit
    if (logit > rowMax) rowMax = logit
  }
  let sum = Math.exp(sink - rowMax)
  for (let i = 0; i < seen.length; i++) {
    const weight = Math.exp(weights[i]! - rowMax)
    sum += weight
    for (let c = 0, at = seen[i]! * valueDim; c < valueDim; c++, at++) out[c]! += weight * values[at]!
  }
  for (let c = 0; c < valueDim; c++) out[c]! /= sum
}
