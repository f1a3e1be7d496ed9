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

/** A property's name as part of a path: itself where it is a plain word, else in quotes and shortened. */
export const describeName = (name: string): string => (/^[\w$.-]{1,40}$/.test(name) ? name : describe(name))

/** The first line of what an error says, or of whatever else was thrown. */
export const firstLine = (error: unknown): string =>
  oneLine(String(error instanceof Error ? error.message : error).split('\n', 1)[0]!)

/** Without line breaks and control characters. */
export const oneLine = (text: string): string => text.replace(/[\s\p{C}]+/gu, ' ')

function words(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'string') return inspected(value.slice(0, 2 * longest))
  if (typeof value !== 'object' || value === null) return inspected(value)
  const name = arrayName(value)
  if (name !== undefined) return `${name}(${arrayLength(value as ArrayBufferView)})`
  if (Array.isArray(value)) {
    return value.length <= 8 ? inspected(value) : `an array of ${value.length} elements`
  }
  const type: unknown = value.constructor?.name
  return typeof type === 'string' && type !== '' && type !== 'Object' ? `an object of class ${type}` : 'an object'
}

const inspected = (value: unknown): string =>
  inspect(value, { breakLength: Number.POSITIVE_INFINITY, depth: 0, customInspect: false })

function shorten(text: string): string {
  const line = oneLine(text)
  return line.length <= longest ? line : `${line.slice(0, longest - 1)}…`
}
