import { describe } from './describe.js'
import { type ErrorCode, IntAttnError } from './errors.js'

/** Throws an {@link IntAttnError}; `received` is described in a few words. */
export function fail(code: ErrorCode, argument: string, expected: string, received: unknown): never {
  throw new IntAttnError({ code, argument, expected, received: describe(received) })
}

/** Like {@link fail}, with `received` already in words. */
export function failWith(code: ErrorCode, argument: string, expected: string, received: string): never {
  throw new IntAttnError({ code, argument, expected, received })
}

export function integer(value: unknown, argument: string, min: number, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  return fail('INVALID_ARGUMENT', argument, `an integer from ${min} to ${max}`, value)
}

export function real(value: unknown, argument: string, min: number, max: number): number {
  if (typeof value === 'number' && value >= min && value <= max) return value
  return fail('INVALID_ARGUMENT', argument, `a number from ${min} to ${max}`, value)
}

export function boolean(value: unknown, argument: string): boolean {
  return typeof value === 'boolean' ? value : fail('INVALID_ARGUMENT', argument, 'true or false', value)
}

export function oneOf<T extends string | number>(value: unknown, argument: string, allowed: readonly T[]): T {
  for (const candidate of allowed) if (value === candidate) return candidate
  return fail('INVALID_ARGUMENT', argument, alternatives(allowed), value)
}

/**
 * An object with no names but `names`; a name whose value is undefined counts as absent.
 *
 * @param prefix how a path to one of its members starts: `quantization.`
 */
export function record(
  value: unknown,
  argument: string,
  names: readonly string[],
  prefix = '',
): Record<string, unknown> {
  const object = anyObject(value, argument)
  for (const name of Object.keys(object)) {
    if (names.includes(name)) continue
    failWith('UNKNOWN_OPTION', `${prefix}${name}`, `a name among ${names.join(', ')}`, 'an unknown name')
  }
  return object
}

export function anyObject(value: unknown, argument: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  return fail('INVALID_ARGUMENT', argument, 'an object', value)
}

function alternatives(allowed: readonly (string | number)[]): string {
  return allowed.map((value) => (typeof value === 'string' ? `'${value}'` : value)).join(' or ')
}
