import { integer } from './checks.js'
import type { Dims } from './scopes.js'
import { type CheckedTensor, checkKeyLengths, checkList, checkTensor, requireBroadcast } from './tensors.js'

/** Which keys rows see, as far as a run decides it, and what is added to their logits. */
export interface Masks {
  /** Present keys per batch item; undefined: all. */
  readonly keyLengths: Uint32Array | undefined
  /** Position of the first query per batch item; undefined: keyLength - queryLength. */
  readonly queryStart: Int32Array | undefined
  /** [1 or batch, 1 or heads, 1 or queryLength, keyLength], 0 = hidden */
  readonly mask: CheckedTensor | undefined
  /** Floats, dims as the mask's; its values are not looked at yet. */
  readonly bias: CheckedTensor | undefined
}

export const maskNames = ['keyLengths', 'queryStart', 'mask', 'bias'] as const

/** @param dims [batch, heads, queryLength, keyLength] */
export function checkMasks(inputs: { readonly [name in (typeof maskNames)[number]]?: unknown }, dims: Dims): Masks {
  const [batch, , , keyLength] = dims
  const mask = inputs.mask === undefined ? undefined : checkTensor(inputs.mask, 'mask', ['bool'])
  if (mask) requireBroadcast(mask, dims)
  const bias =
    inputs.bias === undefined ? undefined : checkTensor(inputs.bias, 'bias', ['float32', 'float16', 'bfloat16'])
  if (bias) requireBroadcast(bias, dims)
  return {
    keyLengths: checkKeyLengths(inputs.keyLengths, batch, keyLength),
    queryStart: checkQueryStart(inputs.queryStart, batch),
    mask,
    bias,
  }
}

function checkQueryStart(given: unknown, batch: number): Int32Array | undefined {
  if (given === undefined) return undefined
  const check = (start: unknown, argument: string) => integer(start, argument, -(2 ** 31), 2 ** 31 - 1)
  const rule = { array: 'Int32Array', count: batch, because: 'one per batch item', check } as const
  return Int32Array.from(checkList(given, 'queryStart', rule))
}
