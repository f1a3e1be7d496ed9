import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { float32Values, floatTensor, readSafetensors, SafetensorsError } from '../src/safetensors.js'
import { fileOf, float32Tensor, inMemory, safetensorsFile, type TensorSpec } from './safetensors-file.js'

const bytes = (...values: number[]) => Uint8Array.from(values)
const sound = safetensorsFile(
  {
    first: float32Tensor([2, 3], (i) => i / 4),
    second: { dtype: 'F16', shape: [2], bytes: bytes(0x00, 0x3c, 0x00, 0xc0) },
    empty: { dtype: 'I64', shape: [0, 7], bytes: bytes() },
  },
  { causal: 'true' },
)

const read = (file: Uint8Array) => readSafetensors(inMemory(file))
const valuesOf = (file: Uint8Array, name: string) => [...float32Values(inMemory(file), floatTensor(read(file), name))]

describe('readSafetensors', () => {
  it('reads where tensors lie, and metadata', () => {
    const { extents, metadata } = read(sound)
    const dataBegin = 8 + Number(sound.readBigUInt64LE())
    expect([...extents]).toEqual([
      ['first', { dtype: 'F32', shape: [2, 3], begin: dataBegin, end: dataBegin + 24 }],
      ['second', { dtype: 'F16', shape: [2], begin: dataBegin + 24, end: dataBegin + 28 }],
      ['empty', { dtype: 'I64', shape: [0, 7], begin: dataBegin + 28, end: dataBegin + 28 }],
    ])
    expect([...metadata]).toEqual([['causal', 'true']])
  })

  it('takes null for no metadata', () => {
    expect(read(fileOf({ __metadata__: null })).metadata.size).toBe(0)
  })

  it('reads tensors in any order of their data, whitespace around the header, and no tensor at all', () => {
    const header = ` {"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}  `
    const extents = read(fileOf(header, bytes(7, 9))).extents
    expect(extents.get('b')!.begin - extents.get('a')!.begin).toBe(1)
    expect(read(fileOf({})).extents.size).toBe(0)
  })

  it.each(['F4', 'F6_E2M3', 'F6_E3M2', 'F8_E4M3FNUZ', 'F8_E8M0', 'C64', 'X-of-2031'])(
    'reads beside a tensor of type %s, however large its elements are',
    (dtype) => {
      const strange = { dtype, shape: [3, 3], bytes: bytes(1, 2, 3, 4, 5, 6, 7) }
      const file = safetensorsFile({ strange, wanted: float32Tensor([2], (i) => i + 1) })
      expect(valuesOf(file, 'wanted')).toEqual([1, 2])
      expect(() => valuesOf(file, 'strange')).toThrow(`tensor "strange": dtype "${dtype}" is none of F32, F16, BF16`)
    },
  )

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
    ['a header that nests', fileOf('['.repeat(1e6)), /^the header nests deeper than 8 levels$/],
    ['a deep dtype', fileOf(`{"a":{"dtype":${'['.repeat(1e6)}${']'.repeat(1e6)}}}`), /^the header nests deeper than 8/],
    ['a header of members', fileOf(`[${'0,'.repeat(1e6)}0,0]`), /^the header has more than 1000000 members$/],
    ['a long name', fileOf({ ['n'.repeat(1e6)]: 1 }), /^tensor "n{60}…": its entry is not an object$/],
    ['a name that commands', fileOf({ '\u202e\x1b[2J\x9b\u2028': 1 }), /^tensor "\\u\{202e\}\\u001b\[2J\\u\{9b\}/],
    ['metadata that is a list', fileOf({ __metadata__: [] }), /__metadata__ is not an object/],
    ['metadata with a number', fileOf({ __metadata__: { a: 1 } }), /__metadata__ "a" is not a string/],
    ['an entry that is a number', fileOf({ a: 1 }), /"a": its entry is not an object/],
    ['three offsets', fileOf({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1, 2] } }, bytes(1)), /not a pair/],
    ['a text as offset', fileOf({ a: u8('0', 1) }, bytes(1)), /not a pair/],
    ['offsets in the wrong order', fileOf({ a: u8(1, 0, [0]) }, bytes(1)), /1 … 0 lie outside/],
    ['data beyond the file', fileOf({ a: u8(0, 2, [2]) }, bytes(1)), /0 … 2 lie outside the 1 bytes/],
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
    expect(() => read(file)).toThrow(SafetensorsError)
    expect(() => read(file)).toThrow(message)
  })

  it('gives either tensors that fill the data or a SafetensorsError, whatever the bytes', () => {
    const mutation = fc.record({ at: fc.nat(sound.length - 1), value: fc.integer({ min: 0, max: 255 }) })
    fc.assert(
      fc.property(fc.array(mutation, { maxLength: 4 }), fc.nat(sound.length), (mutations, kept) => {
        const file = Buffer.from(sound.subarray(0, kept > sound.length / 2 ? kept : sound.length))
        for (const { at, value } of mutations) if (at < file.length) file[at] = value
        try {
          const { extents } = read(file)
          const total = [...extents.values()].reduce((sum, { begin, end }) => sum + end - begin, 0)
          expect(total).toBe(file.length - 8 - Number(file.readBigUInt64LE()))
        } catch (error) {
          expect(error).toBeInstanceOf(SafetensorsError)
        }
      }),
      { numRuns: 5000 },
    )
  })
})

describe('floatTensor', () => {
  const f32 = (begin: number, end: number, shape: unknown, dtype = 'F32') => ({
    dtype,
    shape,
    data_offsets: [begin, end],
  })
  it.each<[string, Buffer, RegExp]>([
    ['no tensor of that name', fileOf({}), /there is no tensor "a"/],
    ['an integer dtype', fileOf({ a: f32(0, 4, [1], 'I32') }, bytes(1, 2, 3, 4)), /"a": dtype "I32" is none of F32/],
    ['an inherited name as dtype', fileOf({ a: f32(0, 4, [1], 'constructor') }, bytes(1, 2, 3, 4)), /is none of F32/],
    ['no dtype', fileOf({ a: { shape: [1], data_offsets: [0, 1] } }, bytes(1)), /dtype is no name and is none of/],
    ['a negative length', fileOf({ a: f32(0, 1, [-1]) }, bytes(1)), /shape is not a list of lengths/],
    ['a fractional length', fileOf({ a: f32(0, 1, [0.5]) }, bytes(1)), /shape is not a list of lengths/],
    ['a huge length', fileOf({ a: f32(0, 1, [1e300]) }, bytes(1)), /shape is not a list of lengths/],
    ['a product beyond integers', fileOf({ a: f32(0, 1, [2 ** 50, 2 ** 50]) }, bytes(1)), /data_offsets hold 1/],
    ['a shape that is a number', fileOf({ a: f32(0, 1, 1) }, bytes(1)), /shape is not a list of lengths/],
    ['too little data', fileOf({ a: f32(0, 1, [1]) }, bytes(1)), /\[1\] of F32 takes 4 bytes, data_offsets hold 1/],
    [
      'too much data',
      fileOf({ a: f32(0, 3, [1], 'BF16') }, bytes(1, 2, 3)),
      /of BF16 takes 2 bytes, data_offsets hold 3/,
    ],
    ['many dims', fileOf({ a: f32(0, 0, Array(1e5).fill(1)) }), /tensor "a": 100000 dims of F32 takes 4 bytes/],
  ])('refuses %s', (_, file, message) => {
    expect(() => floatTensor(read(file), 'a')).toThrow(SafetensorsError)
    expect(() => floatTensor(read(file), 'a')).toThrow(message)
  })
})

describe('float32Values', () => {
  const only = (dtype: string, halves: Uint16Array) => {
    const spec: TensorSpec = { dtype, shape: [halves.length], bytes: new Uint8Array(halves.buffer) }
    return safetensorsFile({ only: spec })
  }

  it('widens float16 exactly', () => {
    const halves = Uint16Array.of(0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x3555, 0x7c00)
    const expected = [0, -0, 1, -2, 65504, 2 ** -24, 2 ** -14, 1365 / 4096, Number.POSITIVE_INFINITY]
    expect(valuesOf(only('F16', halves), 'only')).toEqual(expected)
  })

  it('widens bfloat16 exactly', () => {
    const halves = Uint16Array.of(0x3f80, 0xc040, 0x0001, 0x7f7f)
    expect(valuesOf(only('BF16', halves), 'only')).toEqual([1, -3, 2 ** -133, (2 - 2 ** -7) * 2 ** 127])
  })

  it('widens more than it takes at a time', () => {
    const halves = Uint16Array.from({ length: 2 ** 21 + 3 }, (_, i) => 0x3f80 + (i % 0x4000))
    const file = inMemory(only('BF16', halves))
    const values = float32Values(file, floatTensor(readSafetensors(file), 'only'))
    const bits = new Uint32Array(values.buffer)
    expect(bits.findIndex((word, i) => word !== halves[i]! << 16)).toBe(-1)
  })
})
