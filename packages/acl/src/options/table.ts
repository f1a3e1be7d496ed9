import { fail, integer, oneOf, real, type Snapshot } from '../checks/checks.js'
import type { Table } from '../types.js'

/** An exponential table with every parameter settled; `TableOptions` says what they mean. */
export type ResolvedTable =
  | { readonly table: 'natural'; readonly clip: number; readonly lutBits: 4 | 5 | 6 }
  | { readonly table: 'exp2' }

/** Longest row of scores: the sum of its weights must fit 32 bits. */
export const maxRowLength = 263172

export const tableOptionNames = ['table', 'clip', 'lutBits'] as const

/** Settle and check the table's options. `clip` and `lutBits` belong to `natural` alone. */
export function resolveTable(options: Snapshot, byDefault: Table): ResolvedTable {
  const { table: wanted = byDefault, clip, lutBits } = options
  const table = oneOf(wanted, 'table', ['natural', 'exp2'])
  if (table === 'natural') {
    const bits = integer(lutBits === undefined ? 5 : lutBits, 'lutBits', 4, 6) as 4 | 5 | 6
    return { table, clip: real(clip === undefined ? 6.6 : clip, 'clip', 1e-6, 1000), lutBits: bits }
  }
  if (clip !== undefined) fail('UNKNOWN_OPTION', 'clip', "no such option with table 'exp2'", clip)
  if (lutBits !== undefined) fail('UNKNOWN_OPTION', 'lutBits', "no such option with table 'exp2'", lutBits)
  return { table }
}
