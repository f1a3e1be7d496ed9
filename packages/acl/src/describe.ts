import { inspect } from 'node:util'
import { arrayLength, arrayName } from './buffers.js'

const longest = 80

/** Any value in a few words on one line, for error messages; never throws. */
export function describe(value: unknown): string {
  try {
    return shorten(words(value))
  } catch {
    return 'an object that cannot be inspected'
  }
}

function words(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'object' || value === null) return inspect(value, { breakLength: Number.POSITIVE_INFINITY })
  const name = arrayName(value)
  if (name !== undefined) return `${name}(${arrayLength(value as ArrayBufferView)})`
  if (Array.isArray(value))
    return inspect(value, { breakLength: Number.POSITIVE_INFINITY, depth: 0, maxArrayLength: 8 })
  const type: unknown = value.constructor?.name
  return typeof type === 'string' && type !== '' && type !== 'Object' ? `an object of class ${type}` : 'an object'
}

function shorten(text: string): string {
  const line = text.replace(/\s+/g, ' ')
  return line.length <= longest ? line : `${line.slice(0, longest - 1)}…`
}
