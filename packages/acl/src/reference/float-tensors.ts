import type { CheckedTensor } from '../checks/tensors.js'
import { float16Bits, float16Value } from '../float16.js'

/** The values of a plain float32 or float16 tensor; float32 data comes back as it is. */
export function toFloat32({ data }: CheckedTensor): Float32Array {
  return data instanceof Float32Array ? data : Float32Array.from(data, float16Value)
}

/** Rounds to the tensor's type. */
export function store({ data }: CheckedTensor, values: Float32Array): void {
  if (data instanceof Float32Array) data.set(values)
  else for (let i = 0; i < values.length; i++) data[i] = float16Bits(values[i]!)
}
