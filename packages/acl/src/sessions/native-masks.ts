import type { NativeMasks } from '../addons/interface.js'
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

/** Numbers by head as the addon takes them. */
export const float32List = (list: readonly number[] | undefined): Float32Array | undefined =>
  list && Float32Array.from(list)
