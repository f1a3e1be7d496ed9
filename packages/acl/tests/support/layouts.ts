import { bfloat16Value, float16Value, type Tensor } from '../../src/index.js'
import type { Random } from './random.js'

type Data = Float32Array | Uint16Array | Int8Array

/** What lies between the rows: NaN where there is one. */
const poison = { float32: Number.NaN, float16: 0x7e00, bfloat16: 0x7fc0, int8: -99 } as const

/** Where each row of a tensor begins, in elements. */
export function starts({ dims, strides }: Pick<Tensor, 'dims' | 'strides'>): number[] {
  const [batch, heads, length, dim] = dims as [number, number, number, number]
  const [ofBatch, ofHead, ofRow] = strides ?? [heads * length * dim, length * dim, dim]
  const places: number[] = []
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let row = 0; row < length; row++) places.push(b * ofBatch! + h * ofHead! + row * ofRow!)
    }
  }
  return places
}

/** The same tensor with its axes in any order in memory, gaps between rows, and any offset into a larger buffer. */
export function layOut<T extends Tensor>(random: Random, tensor: T): T {
  const { dims, type } = tensor
  const source = tensor.data as Data
  const order = [0, 1, 2].sort(() => random.next() - 0.5)
  const strides = [0, 0, 0, 1]
  let reach = dims[3]!
  for (const axis of order) {
    strides[axis] = reach + random.pick([0, 0, 1, 3])
    reach += (dims[axis]! - 1) * strides[axis]!
  }
  const offset = random.integer(0, 7)
  const Class = source.constructor as Float32ArrayConstructor
  const data = new Class(offset + reach + random.integer(0, 5)).fill(poison[type]).subarray(offset)
  for (const [index, start] of starts({ dims, strides }).entries()) {
    data.set(source.subarray(index * dims[3]!, (index + 1) * dims[3]!), start)
  }
  return { ...tensor, strides, data }
}

/** The elements of a tensor in the order of its dims, as they are stored. */
export function elements({ dims, strides, data }: Tensor): number[] {
  return starts({ dims, ...(strides && { strides }) }).flatMap((start) =>
    Array.from((data as Data).subarray(start, start + dims[3]!)),
  )
}

/** Likewise, as numbers. */
export function numbers(tensor: Tensor): number[] {
  const stored = elements(tensor)
  if (tensor.type === 'float16') return stored.map(float16Value)
  return tensor.type === 'bfloat16' ? stored.map(bfloat16Value) : stored
}

/** Elements beside those of the tensor that are no longer as {@link layOut} left them. */
export function touched({ dims, strides, data, type }: Tensor): number[] {
  const own = new Set(
    starts({ dims, ...(strides && { strides }) }).flatMap((start) =>
      Array.from({ length: dims[3]! }, (_, c) => start + c),
    ),
  )
  return Array.from((data as Data).keys()).filter((i) => !own.has(i) && !Object.is((data as Data)[i], poison[type]))
}
