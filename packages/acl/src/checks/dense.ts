import { bfloat16Bits, bfloat16Overflow, bfloat16Value } from '../bfloat16.js'
import { fixedView, type NumericArray } from './buffers.js'
import { denseStrides, isDense, rowStarts } from './layouts.js'
import { outputOverflows } from './non-finite.js'
import { allocate, type CheckedTensor } from './tensors.js'

/** Whether code that knows neither strides nor bfloat16 can read and write a tensor. */
export const isPlain = (tensor: CheckedTensor): boolean => tensor.type !== 'bfloat16' && isDense(tensor)

/** The tensor if it is plain, else a copy that is. */
export const plain = (tensor: CheckedTensor): CheckedTensor => (isPlain(tensor) ? tensor : plainCopy(tensor))

/** A dense copy of its own memory; bfloat16 becomes float32, which has all of its numbers. */
export function plainCopy(tensor: CheckedTensor): CheckedTensor {
  const { argument, dims, data, type } = tensor
  const isBfloat16 = type === 'bfloat16'
  const create = (isBfloat16 ? Float32Array : data.constructor) as new (length: number) => NumericArray
  const count = dims.reduce((product, dim) => product * dim, 1)
  const copy = allocate(create, count, argument)
  if (isDense(tensor) && !isBfloat16) copy.set(data)
  else {
    let at = 0
    for (const start of rowStarts(dims, tensor.strides)) {
      const row = data.subarray(start, start + dims[3])
      copy.set(isBfloat16 ? Float32Array.from(row, bfloat16Value) : row, at)
      at += dims[3]
    }
  }
  return { ...tensor, type: isBfloat16 ? 'float32' : type, strides: denseStrides(dims), data: copy }
}

/** Puts what was written to a {@link plainCopy} where it belongs, in the memory that its source has now. */
export function writeBack({ data }: CheckedTensor, to: CheckedTensor): void {
  const target = fixedView(to.source)
  const { dims, type } = to
  if (type === 'bfloat16') {
    for (const x of data) if (!(Math.abs(x) < bfloat16Overflow)) outputOverflows(type)
  }
  let at = 0
  for (const start of rowStarts(dims, to.sourceStrides)) {
    const row = data.subarray(at, at + dims[3])
    target.set(type === 'bfloat16' ? Uint16Array.from(row, bfloat16Bits) : row, start)
    at += dims[3]
  }
}
