import type { CheckedTensor } from '../checks/tensors.js'
import { rowsOf } from '../reference/version-2/operands.js'
import { unusable } from '../reference/version-2/unusable-rows.js'
import type { ResolvedCacheOptions } from './options.js'

/** Throws for the first row that no cache takes. */
export function unusableRow(options: ResolvedCacheOptions, tensor: CheckedTensor, side: 'key' | 'value'): void {
  const operand = rowsOf(tensor, options, side)
  const bad = operand.scale.findIndex(Number.isNaN)
  if (bad >= 0) unusable(operand, bad)
}
