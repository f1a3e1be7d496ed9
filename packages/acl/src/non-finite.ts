import { failWith } from './checks.js'
import { float16Overflow, float16Value } from './float16.js'
import type { CheckedTensor } from './tensors.js'
import type { Pipeline } from './types.js'

/** Greatest magnitude that stays finite in the pipeline's number format. */
const bound = (pipeline: Pipeline): number => (pipeline === 'fp16' ? float16Overflow : Number.POSITIVE_INFINITY)

/**
 * Throws `NON_FINITE` for the first value that is NaN, infinite, or too large for the pipeline's format.
 *
 * @param lengths rows present per batch item; those that follow are padding and are not looked at
 */
export function requireFinite(tensor: CheckedTensor, pipeline: Pipeline, lengths?: Uint32Array): void {
  const index = firstBad(tensor, bound(pipeline), lengths)
  if (index >= 0) reject(tensor, pipeline, index)
}

/** Explains what an engine that only knows the tensor has found. */
export function rejectNonFinite(tensor: CheckedTensor, pipeline: Pipeline, lengths?: Uint32Array): never {
  requireFinite(tensor, pipeline, lengths)
  const float = pipeline === 'fp32' || pipeline === 'fp16'
  const expected = float
    ? 'magnitudes whose products and sums stay finite in float32'
    : 'values whose distance from the mean of their channel is a finite float32'
  return failWith('NON_FINITE', tensor.argument, expected, float ? 'larger ones' : 'a channel that spans more')
}

function firstBad({ data, dims, type }: CheckedTensor, limit: number, lengths: Uint32Array | undefined): number {
  if (type === 'int8') return -1
  const half = type === 'float16'
  const [batch, heads, length, headDim] = dims
  for (let head = 0; head < batch * heads; head++) {
    const start = head * length * headDim
    const end = start + (lengths ? lengths[Math.floor(head / heads)]! : length) * headDim
    for (let i = start; i < end; i++) {
      const value = half ? float16Value(data[i]!) : data[i]!
      if (!(Math.abs(value) < limit)) return i
    }
  }
  return -1
}

function reject({ argument, data, dims, type }: CheckedTensor, pipeline: Pipeline, index: number): never {
  const [, heads, length, headDim] = dims
  const row = Math.floor(index / headDim)
  const head = Math.floor(row / length)
  const place = [Math.floor(head / heads), head % heads, row % length, index % headDim]
  const value = type === 'float16' ? float16Value(data[index]!) : data[index]
  const expected = pipeline === 'fp16' ? `finite values below ${float16Overflow}, float16's range,` : 'finite values'
  return failWith('NON_FINITE', argument, expected, `${value} at [${place.join(', ')}] (element ${index})`)
}
