import type { CacheState } from '../../cache/cache-state.js'
import type { ResolvedCacheOptions } from '../../cache/options.js'
import { countOf, keptSegments } from '../../cache/saved.js'
import { segmentLength } from '../../cache/store.js'
import { plain } from '../../checks/dense.js'
import type { CheckedTensor } from '../../checks/tensors.js'
import type { BlockOptions } from '../../options/block-options.js'
import type { Problem } from '../../sessions/problem.js'
import { toFloat32 } from '../float-tensors.js'
import { channelMeans } from '../quantize.js'
import { type Bits, isScale, quantizeRow } from './quantize-row.js'
import { rotate, rotationBlock } from './rotation.js'

/** Q, K or V in integers; sections 1 to 3 of the numeric specification. */
export interface Operand {
  tensor: CheckedTensor
  /** As the tensor. */
  integers: Int8Array | Int16Array
  /** One per row; NaN marks a row that must not be used. */
  scale: Float32Array
  /** [batch * heads, dim]: what was subtracted from every row. */
  offset: Float32Array
  /** Channels mixed by the rotation; 1 without. */
  rotationBlock: number
}

export interface Operands {
  query: Operand
  key: Operand
  value: Operand
}

export function operandsOf(options: BlockOptions, problem: Problem): Operands {
  const { query, key, value, keyLengths, smoothKey, centerValue, caches } = problem
  const { rotate, queryBits, keyBits, valueBits, keyOffset, valueOffset } = options
  if (caches) {
    return {
      query: operand(query, { rotate, bits: queryBits }),
      key: cached(caches, key, 'key'),
      value: cached(caches, value, 'value'),
    }
  }
  return {
    query: operand(query, { rotate, bits: queryBits }),
    key: operand(key, { rotate, bits: keyBits, given: keyOffset, mean: smoothKey, lengths: keyLengths }),
    value: operand(value, { rotate, bits: valueBits, given: valueOffset, mean: centerValue, lengths: keyLengths }),
  }
}

/** Rows as a cache takes them. */
export function rowsOf(tensor: CheckedTensor, options: ResolvedCacheOptions, side: 'key' | 'value'): Operand {
  const { rotate, keyBits, valueBits, keyOffset, valueOffset } = options
  const [bits, given] = side === 'key' ? [keyBits, keyOffset] : [valueBits, valueOffset]
  return operand(plain(tensor), { rotate, bits, given })
}

/** What caches hold, each item as long as the longest. */
function cached(caches: readonly CacheState[], tensor: CheckedTensor, side: 'key' | 'value'): Operand {
  const [batch, heads, length, dim] = tensor.dims
  const integers = new Int8Array(batch * heads * length * dim)
  const scale = new Float32Array(batch * heads * length)
  const offset = new Float32Array(batch * heads * dim)
  for (const [item, { options, store, freed }] of caches.entries()) {
    const ofSide = options[side === 'key' ? 'keyOffset' : 'valueOffset']
    if (ofSide) offset.set(ofSide, item * heads * dim)
    for (const segment of keptSegments({ length: store.length, freed })) {
      const first = segment * segmentLength
      const count = countOf(segment, store.length)
      const rows = {
        key: new Int8Array(heads * count * options.headDim),
        value: new Int8Array(heads * count * options.valueDim),
        keyScale: new Float32Array(heads * count),
        valueScale: new Float32Array(heads * count),
      }
      store.read(first, rows, count)
      for (let head = 0; head < heads; head++) {
        const at = (item * heads + head) * length + first
        integers.set(rows[side].subarray(head * count * dim, (head + 1) * count * dim), at * dim)
        scale.set(rows[`${side}Scale`].subarray(head * count, (head + 1) * count), at)
      }
    }
  }
  const [{ options }] = caches as [CacheState]
  return { tensor, integers, scale, offset, rotationBlock: options.rotate ? rotationBlock(dim) : 1 }
}

interface Quantization {
  rotate: boolean
  bits: Bits
  /** [heads, dim], the same for all batch items */
  given?: readonly number[] | undefined
  /** Whether the mean of each channel is to be subtracted. */
  mean?: boolean
  /** Rows present per batch item; the others are as rows of zeros. */
  lengths?: Uint32Array | undefined
}

function operand(tensor: CheckedTensor, quantization: Quantization): Operand {
  return tensor.type === 'int8' ? givenIntegers(tensor, quantization) : quantized(tensor, quantization)
}

function givenIntegers(tensor: CheckedTensor, { bits, lengths }: Quantization): Operand {
  const [batch, heads, , dim] = tensor.dims
  const integers = Int8Array.from(tensor.data)
  const scale = Float32Array.from(tensor.scale!)
  const most = bits === 7 ? 63 : 128
  forRows(tensor, lengths, (row, isPresent) => {
    const ofRow = integers.subarray(row * dim, (row + 1) * dim)
    if (!isPresent) {
      ofRow.fill(0)
      scale[row] = 0
    } else if (!isScale(scale[row]!) || ofRow.some((q) => Math.abs(q) > most)) {
      scale[row] = Number.NaN
    }
  })
  return { tensor, integers, scale, offset: new Float32Array(batch * heads * dim), rotationBlock: 1 }
}

function quantized(tensor: CheckedTensor, { rotate: rotates, bits, given, mean, lengths }: Quantization): Operand {
  const [batch, heads, length, dim] = tensor.dims
  const values = toFloat32(tensor)
  const offset = mean ? channelMeans(values, tensor.dims, lengths) : new Float32Array(batch * heads * dim)
  for (let i = 0; given && i < offset.length; i++) offset[i] = given[i % given.length]!

  const integers = bits === 15 ? new Int16Array(values.length) : new Int8Array(values.length)
  const scale = new Float32Array(batch * heads * length)
  const n = rotates ? rotationBlock(dim) : 1
  forRows(tensor, lengths, (row, isPresent) => {
    if (!isPresent) return
    const head = Math.floor(row / length)
    const ofRow = values.slice(row * dim, (row + 1) * dim)
    for (let c = 0; c < dim; c++) ofRow[c]! -= offset[head * dim + c]!
    rotate(ofRow, n)
    scale[row] = quantizeRow(ofRow, bits, integers.subarray(row * dim, (row + 1) * dim))
  })
  return { tensor, integers, scale, offset, rotationBlock: n }
}

function forRows(
  { dims }: CheckedTensor,
  lengths: Uint32Array | undefined,
  visit: (row: number, isPresent: boolean) => void,
): void {
  const [batch, heads, length] = dims
  for (let row = 0; row < batch * heads * length; row++) {
    const item = Math.floor(row / (heads * length))
    visit(row, !lengths || row % length < lengths[item]!)
  }
}
