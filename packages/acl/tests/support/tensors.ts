import { float16Bits, type Tensor, type TensorType } from '../../src/index.js'

/** A tensor from numbers: float16 as bits, int8 as they are. */
export function tensor(
  type: TensorType,
  dims: readonly number[],
  values: ArrayLike<number>,
  scale?: Float32Array,
): Tensor {
  switch (type) {
    case 'float32':
      return { type, dims, data: Float32Array.from(values) }
    case 'float16':
      return { type, dims, data: Uint16Array.from(values, float16Bits) }
    case 'int8':
      return { type, dims, data: Int8Array.from(values), ...(scale && { scale }) }
  }
}

export const count = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1)
