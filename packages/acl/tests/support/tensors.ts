import { bfloat16Bits, float16Bits, type Tensor, type TensorType } from '../../src/index.js'

type TensorOf<Type extends TensorType> = Extract<Tensor, { type: Type }>

/** A tensor from numbers: float16 and bfloat16 as bits, int8 as they are. */
export function tensor<Type extends TensorType>(
  type: Type,
  dims: readonly number[],
  values: ArrayLike<number>,
  scale?: Float32Array,
): TensorOf<Type> {
  const data = {
    float32: () => Float32Array.from(values),
    float16: () => Uint16Array.from(values, float16Bits),
    bfloat16: () => Uint16Array.from(values, bfloat16Bits),
    int8: () => Int8Array.from(values),
  }[type]()
  return { type, dims, data, ...(scale && { scale }) } as unknown as TensorOf<Type>
}

export const count = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1)
