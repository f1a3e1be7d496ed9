import fc from 'fast-check'
import { expect } from 'vitest'
import { Problem } from '../../../acl/problem.mjs'
import { Bytes } from '../../binaries/bytes.mjs'
import { doctored } from './binaries-layout.mjs'

/** The Problem that a reader has with a file, if it has one. Anything else that it throws is a failure. */
function problemWith(read, content) {
  try {
    read('addon.node', content)
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(Problem)
    expect(error.message).toMatch(/^addon\.node: /)
    return error
  }
}

/** A file that is cut off anywhere is refused. */
export function expectWhole(read, content) {
  for (let length = 0; length < content.length; length += 1)
    expect(problemWith(read, content.subarray(0, length)), `${length} of ${content.length} bytes`).toBeDefined()
}

/** Numbers as large as they can be, wherever numbers are. */
export function expectBounds(read, content, [start, end] = [0, content.length]) {
  for (const bytes of [2, 4, 8])
    for (let at = start; at + bytes <= end; at += bytes)
      problemWith(read, doctored(content, at, Buffer.alloc(bytes, 255)))
}

/** Any bytes changed in these parts of a file give facts or a Problem. */
export function expectRobust(read, content, parts = [[0, content.length]], runs = 3000) {
  const place = fc.oneof(...parts.map(([start, end]) => fc.integer({ min: start, max: end - 1 })))
  const value = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 127, 128, 255))
  fc.assert(
    fc.property(fc.array(fc.tuple(place, value), { minLength: 1, maxLength: 8 }), (changes) => {
      const copy = Buffer.from(content)
      for (const [at, byte] of changes) copy[at] = byte
      problemWith(read, copy)
    }),
    { numRuns: runs },
  )
}

/**
 * Reads, and counts what is read: at most so many times the bytes of the file, however it repeats or shares what is in it. The reader is
 * stopped at that.
 */
export function expectFewReads(content, most, run) {
  const own = Object.getOwnPropertyDescriptors(Bytes.prototype)
  let left = most * content.length
  const counted = (name, sizeOf) => {
    Bytes.prototype[name] = function (at) {
      const value = own[name].value.call(this, at)
      left -= sizeOf(value)
      if (left < 0) throw new Error(`more was read than ${most} times the file`)
      return value
    }
  }
  for (const [name, size] of Object.entries({ u8: 1, u16: 2, u32: 4, u32be: 4 })) counted(name, () => size)
  counted('text', ({ length }) => length)
  try {
    return run()
  } finally {
    Object.defineProperties(Bytes.prototype, own)
  }
}
