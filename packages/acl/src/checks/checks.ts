import { type ErrorCode, IntAttnError } from '../errors.js'
import { describe, describeName } from './describe.js'

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
 * What an object holds under `names`, each read once; it may hold nothing else. A name whose value is undefined counts as absent.
 *
 * @param prefix how a path to one of its members starts: `quantization.`
 */
export function record(value: unknown, argument: string, names: readonly string[], prefix = ''): Snapshot {
  const object = anyObject(value, argument)
  if (ArrayBuffer.isView(object)) fail('INVALID_ARGUMENT', argument, 'an object', value)
  for (const name of attempt(() => Object.keys(object), argument)) {
    if (names.includes(name)) continue
    failWith('UNKNOWN_OPTION', `${prefix}${describeName(name)}`, `a name among ${names.join(', ')}`, 'an unknown name')
  }
  return snapshot(object, names, prefix)
}

/** What an object held when it was read: its getters, if it has any, may answer differently the next time. */
export type Snapshot = Readonly<Record<string, unknown>>

/** What an object holds under `names`, inherited or its own, each read once. */
export function snapshot(object: object, names: readonly string[], prefix: string): Snapshot {
  return Object.fromEntries(names.map((name) => [name, read(object, name, `${prefix}${name}`)]))
}

/** One property of an object that may be a proxy or have getters. */
export const read = (object: object, name: string | number, argument: string): unknown =>
  attempt(() => Reflect.get(object, name), argument)

export function anyObject(value: unknown, argument: string): object {
  if (typeof value === 'object' && value !== null && !isArray(value)) return value
  return fail('INVALID_ARGUMENT', argument, 'an object', value)
}

/** `Array.isArray`, for revoked proxies too. */
export function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

function attempt<T>(reading: () => T, argument: string): T {
  try {
    return reading()
  } catch (cause) {
    const received = `one that threw ${describe(cause)}`
    throw new IntAttnError({ code: 'INVALID_ARGUMENT', argument, expected: 'a value to read', received }, { cause })
  }
}

function alternatives(allowed: readonly (string | number)[]): string {
  return allowed.map((value) => (typeof value === 'string' ? `'${value}'` : value)).join(' or ')
}
