import type { Scope } from './scopes.js'
import type { ResolvedTable } from './table.js'
import type { Normalization } from './types.js'

/** Values of the C++ enumerations. */
const scopes: readonly Scope[] = ['tensor', 'head', 'row', 'channel']

export const scopeCode = (scope: Scope): number => scopes.indexOf(scope)

export const normalizationCode = (normalization: Normalization): number => (normalization === 'integer' ? 0 : 1)

export function tableCode(table: ResolvedTable): { table: number; clip: number; lutBits: number } {
  return table.table === 'natural'
    ? { table: 0, clip: table.clip, lutBits: table.lutBits }
    : { table: 1, clip: 6.6, lutBits: 5 }
}
