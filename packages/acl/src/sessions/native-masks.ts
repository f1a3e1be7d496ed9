import type { NativeMasks } from '../addons/interface.js'
import { isDense } from '../checks/layouts.js'
import type { Masks } from '../checks/masks.js'
import type { CheckedTensor } from '../checks/tensors.js'
import { toFloat32 } from '../reference/float-tensors.js'

/** Masks as the addon takes them. */
export function nativeMasks({ queryStart, mask, bias }: Omit<Masks, 'keyLengths'>): NativeMasks {
  return {
    queryStart,
    mask: mask?.data,
    maskDims: dimsOf(mask),
    bias: bias && toFloat32(bias),
    biasDims: dimsOf(bias),
  }
}

const dimsOf = (tensor: CheckedTensor | undefined) => tensor && Uint32Array.from(tensor.dims)

/** Strides as the addon takes them: none for the dense, whose arrays would take longer to make than the rest of a call. */
export const nativeStrides = (tensor: CheckedTensor): Float64Array | undefined =>
  isDense(tensor) ? undefined : new Float64Array(tensor.strides)

/** Numbers by head as the addon takes them. */
export const float32List = (list: readonly number[] | undefined): Float32Array | undefined =>
  list && Float32Array.from(list)
