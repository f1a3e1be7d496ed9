import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { float32Values, readSafetensors, SafetensorsError } from '../src/safetensors.js'
import { fileOf, float32Tensor, safetensorsFile } from './safetensors-file.js'

const bytes = (...values: number[]) => Uint8Array.from(values)
const sound = safetensorsFile(
  {
    first: float32Tensor([2, 3], (i) => i / 4),
    second: { dtype: 'F16', shape: [2], bytes: bytes(0x00, 0x3c, 0x00, 0xc0) },
    empty: { dtype: 'I64', shape: [0, 7], bytes: bytes() },
  },
  { causal: 'true' },
)

describe('readSafetensors', () => {
  it('reads tensors and metadata', () => {
    const { tensors, metadata } = readSafetensors(sound)
    expect([...tensors.keys()]).toEqual(['first', 'second', 'empty'])
    expect(tensors.get('first')).toMatchObject({ dtype: 'F32', shape: [2, 3] })
    expect([...metadata]).toEqual([['causal', 'true']])
  })

  it('reads a file at any offset of a larger buffer', () => {
    const shifted = Buffer.concat([bytes(1, 2, 3), sound]).subarray(3)
    expect([...float32Values(readSafetensors(shifted).tensors.get('first')!)]).toEqual([0, 0.25, 0.5, 0.75, 1, 1.25])
  })

  it('reads tensors in any order of their data, whitespace around the header, and no tensor at all', () => {
    const header = ` {"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}  `
    expect(readSafetensors(fileOf(header, bytes(7, 9))).tensors.get('b')!.bytes[0]).toBe(9)
    expect(readSafetensors(fileOf({})).tensors.size).toBe(0)
  })

  const u8 = (begin: unknown, end: unknown, shape: unknown = [1], dtype: unknown = 'U8') => ({
    dtype,
    shape,
    data_offsets: [begin, end],
  })
  it.each<[string, Buffer, RegExp]>([
    ['an empty file', Buffer.alloc(0), /0 bytes, too few/],
    ['a file of 7 bytes', Buffer.alloc(7), /7 bytes, too few/],
    ['a header beyond the file', Buffer.from([200, 0, 0, 0, 0, 0, 0, 0, 123]), /reaches beyond the file's 9 bytes/],
    ['a header without bound', Buffer.alloc(16, 255), /exceeds 100000000/],
    ['a header that is not JSON', fileOf('{"a":'), /not JSON/],
    ['a header that is not UTF-8', Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe]), /not JSON in UTF-8/],
    ['a header that is a list', fileOf('[1]'), /not a JSON object/],
    ['a header that is null', fileOf('null'), /not a JSON object/],
    ['metadata that is a list', fileOf({ __metadata__: [] }), /__metadata__ is not an object/],
    ['metadata with a number', fileOf({ __metadata__: { a: 1 } }), /__metadata__ "a" is not a string/],
    ['an entry that is a number', fileOf({ a: 1 }), /"a": its entry is not an object/],
    ['an unknown dtype', fileOf({ a: u8(0, 1, [1], 'F31') }, bytes(1)), /unknown dtype "F31"/],
    ['an inherited name as dtype', fileOf({ a: u8(0, 1, [1], 'constructor') }, bytes(1)), /unknown dtype/],
    ['no dtype', fileOf({ a: { shape: [1], data_offsets: [0, 1] } }, bytes(1)), /unknown dtype undefined/],
    ['a negative length', fileOf({ a: u8(0, 1, [-1]) }, bytes(1)), /shape is not a list of lengths/],
    ['a fractional length', fileOf({ a: u8(0, 1, [0.5]) }, bytes(1)), /shape is not a list of lengths/],
    ['a huge length', fileOf({ a: u8(0, 1, [1e300]) }, bytes(1)), /shape is not a list of lengths/],
    ['a product beyond integers', fileOf({ a: u8(0, 1, [2 ** 50, 2 ** 50]) }, bytes(1)), /data_offsets hold 1/],
    ['a shape that is a number', fileOf({ a: u8(0, 1, 1) }, bytes(1)), /shape is not a list of lengths/],
    ['three offsets', fileOf({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1, 2] } }, bytes(1)), /not a pair/],
    ['a text as offset', fileOf({ a: u8('0', 1) }, bytes(1)), /not a pair/],
    ['offsets in the wrong order', fileOf({ a: u8(1, 0, [0]) }, bytes(1)), /1 … 0 lie outside/],
    ['data beyond the file', fileOf({ a: u8(0, 2, [2]) }, bytes(1)), /0 … 2 lie outside the 1 bytes/],
    [
      'too much data for the shape',
      fileOf({ a: u8(0, 2) }, bytes(1, 2)),
      /\[1\] of U8 takes 1 bytes, data_offsets hold 2/,
    ],
    ['too little data for the dtype', fileOf({ a: u8(0, 1, [1], 'F32') }, bytes(1)), /takes 4 bytes/],
    ['an overlap', fileOf({ a: u8(0, 2, [2]), b: u8(1, 3, [2]) }, bytes(1, 2, 3)), /"b": overlaps/],
    ['the same data twice', fileOf({ a: u8(0, 1), b: u8(0, 1) }, bytes(1)), /"b": overlaps/],
    ['a gap', fileOf({ a: u8(0, 1), b: u8(2, 3) }, bytes(1, 2, 3)), /"b": leaves a gap of 1 bytes/],
    ['a remainder', fileOf({ a: u8(0, 1) }, bytes(1, 2)), /1 bytes belong to no tensor/],
    [
      'a name given twice',
      fileOf(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        bytes(1, 2),
      ),
      /leaves a gap/,
    ],
  ])('refuses %s', (_, file, message) => {
    const read = () => readSafetensors(file)
    expect(read).toThrow(SafetensorsError)
    expect(read).toThrow(message)
  })

  it('gives either tensors that fill the data or a SafetensorsError, whatever the bytes', () => {
    const mutation = fc.record({ at: fc.nat(sound.length - 1), value: fc.integer({ min: 0, max: 255 }) })
    fc.assert(
      fc.property(fc.array(mutation, { maxLength: 4 }), fc.nat(sound.length), (mutations, kept) => {
        const file = Buffer.from(sound.subarray(0, kept > sound.length / 2 ? kept : sound.length))
        for (const { at, value } of mutations) if (at < file.length) file[at] = value
        try {
          const { tensors } = readSafetensors(file)
          const total = [...tensors.values()].reduce((sum, tensor) => sum + tensor.bytes.length, 0)
          expect(total).toBe(file.length - 8 - Number(file.readBigUInt64LE()))
        } catch (error) {
          expect(error).toBeInstanceOf(SafetensorsError)
        }
      }),
      { numRuns: 5000 },
    )
  })
})

describe('float32Values', () => {
  it('widens float16 exactly', () => {
    const halves = Uint16Array.of(0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x3555, 0x7c00)
    const tensor = { dtype: 'F16', shape: [9], bytes: new Uint8Array(halves.buffer) }
    const expected = [0, -0, 1, -2, 65504, 2 ** -24, 2 ** -14, 1365 / 4096, Number.POSITIVE_INFINITY]
    expect([...float32Values(tensor)]).toEqual(expected)
  })

  it('widens bfloat16 exactly', () => {
    const halves = Uint16Array.of(0x3f80, 0xc040, 0x0001, 0x7f7f)
    const tensor = { dtype: 'BF16', shape: [4], bytes: new Uint8Array(halves.buffer) }
    expect([...float32Values(tensor)]).toEqual([1, -3, 2 ** -133, (2 - 2 ** -7) * 2 ** 127])
  })

  it('refuses other dtypes', () => {
    expect(() => float32Values({ dtype: 'I64', shape: [1], bytes: new Uint8Array(8) })).toThrow(
      /none of F32, F16, BF16/,
    )
  })
})
