import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundledInput, firstTokens, loadInput, type Shape, usefulMacs, visibleKeys } from '../src/input.js'
import { UsageError } from '../src/usage-error.js'
import { fileOf, float32Tensor, safetensorsFile, type TensorSpec } from './safetensors-file.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'intattn-bench-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function write(tensors: Record<string, TensorSpec>, metadata?: Record<string, string>): string {
  const path = join(folder, 'input.safetensors')
  writeFileSync(path, safetensorsFile(tensors, metadata))
  return path
}

const number = (shape: number[]) => float32Tensor(shape, (i) => i)
const sound = { query: number([1, 4, 3, 2]), key: number([1, 2, 5, 2]), value: number([1, 2, 5, 2]) }

describe('loadInput', () => {
  it('reads the bundled input', () => {
    const input = loadInput(bundledInput)
    const shape = { batch: 1, heads: 9, kvHeads: 3, queryLength: 1024, keyLength: 1024, headDim: 64 }
    expect(input).toMatchObject({ ...shape, causal: true, softmaxScale: 0.125 })
    expect(input.query.every(Number.isFinite)).toBe(true)
  })

  it('reads shapes, and defaults without metadata', () => {
    const input = loadInput(write(sound))
    expect(input).toMatchObject({ heads: 4, kvHeads: 2, queryLength: 3, keyLength: 5, headDim: 2, causal: false })
    expect(input.softmaxScale).toBe(1 / Math.sqrt(2))
    expect(input.key[19]).toBe(19)
  })

  it.each<[string, Record<string, TensorSpec>, Record<string, string>, RegExp]>([
    ['no value', { query: sound.query, key: sound.key }, {}, /there is no tensor "value"/],
    ['three dims', { ...sound, key: number([2, 5, 2]) }, {}, /tensor "key" is \[2, 5, 2\], not \[batch/],
    ['a dim of 0', { ...sound, query: number([1, 4, 0, 2]) }, {}, /tensor "query" is \[1, 4, 0, 2\]/],
    ['another length', { ...sound, value: number([1, 2, 6, 2]) }, {}, /key and value differ in length: 5 and 6/],
    ['another headDim', { ...sound, query: number([1, 4, 3, 1]) }, {}, /query and key differ in headDim: 1 and 2/],
    ['another batch', { ...sound, query: number([2, 4, 3, 2]) }, {}, /query and key differ in batch: 2 and 1/],
    [
      'heads that do not divide',
      { ...sound, query: number([1, 3, 3, 2]) },
      {},
      /3 query heads are not a multiple of 2/,
    ],
    ['an integer dtype', { ...sound, key: { ...sound.key, dtype: 'I32' } }, {}, /dtype "I32" is none of/],
    [
      'an infinity',
      { ...sound, key: float32Tensor([1, 2, 5, 2], (i) => 1 / (i - 3)) },
      {},
      /"key" holds Infinity at element 3/,
    ],
    ['another causal', sound, { causal: 'yes' }, /metadata causal is "yes"/],
    ['a scale of 0', sound, { softmax_scale: '0' }, /metadata softmax_scale is "0"/],
    ['a hexadecimal scale', sound, { softmax_scale: '0x1' }, /metadata softmax_scale is "0x1"/],
    ['an empty scale', sound, { softmax_scale: '' }, /metadata softmax_scale is ""/],
    ['a scale below range', sound, { softmax_scale: '9e-31' }, /is "9e-31", not a decimal number 1e-30 … 1e\+30/],
    ['a scale above range', sound, { softmax_scale: '1e31' }, /metadata softmax_scale is "1e31"/],
    ['a scale in words', sound, { softmax_scale: 'x' }, /metadata softmax_scale is "x"/],
  ])('refuses a file with %s', (_, tensors, metadata, message) => {
    const path = write(tensors, metadata)
    expect(() => loadInput(path)).toThrow(UsageError)
    expect(() => loadInput(path)).toThrow(message)
  })

  it.each([
    ['.5', 0.5],
    ['1e-30', 1e-30],
    ['0.125', 0.125],
    ['1E+30', 1e30],
  ])('reads the scale %s', (text, scale) => {
    expect(loadInput(write(sound, { softmax_scale: text })).softmaxScale).toBe(scale)
  })

  it('reads what it needs of a file over 4 GiB', () => {
    const path = join(folder, 'huge.safetensors')
    const gap = 5 * 2 ** 30
    const data = Buffer.concat(Object.values(sound).map(({ bytes }) => bytes))
    const header: Record<string, unknown> = { weights: { dtype: 'F4', shape: [gap], data_offsets: [0, gap] } }
    let begin = gap
    for (const [name, { dtype, shape, bytes }] of Object.entries(sound)) {
      header[name] = { dtype, shape, data_offsets: [begin, begin + bytes.length] }
      begin += bytes.length
    }
    const head = fileOf(header)
    const file = openSync(path, 'w')
    writeSync(file, head, 0, head.length, 0)
    writeSync(file, data, 0, data.length, head.length + gap)
    closeSync(file)
    const { query, value } = loadInput(path)
    expect([...query]).toEqual([...Array(24).keys()])
    expect(value[19]).toBe(19)
  })

  it('asks for the memory before it reads the tensors', () => {
    const path = write({ ...sound, query: float32Tensor([1, 4, 3, 2], () => Number.NaN) })
    const refuse = (bytes: number) => {
      throw new UsageError('--input', 'less', `${bytes}`)
    }
    expect(() => loadInput(path, refuse)).toThrow(`received ${16 * 24 + 8 * 20}`)
  })

  it('refuses what cannot be read', () => {
    expect(() => loadInput(join(folder, 'absent'))).toThrow(/^argument --input: expected a readable file, .*ENOENT/)
    expect(() => loadInput(folder)).toThrow(/EISDIR/)
    if (process.platform === 'win32') return
    expect(() => loadInput('/dev/zero')).toThrow(
      "expected a readable file, received '/dev/zero' (a device, not a file)",
    )
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    expect(() => loadInput(pipe)).toThrow(/a pipe, not a file/)
  })
})

describe('firstTokens', () => {
  it('keeps the first tokens of every head', () => {
    const square = loadInput(
      write({ query: number([1, 2, 3, 2]), key: number([1, 1, 3, 2]), value: number([1, 1, 3, 2]) }),
    )
    const cut = firstTokens(square, 2)
    expect(cut).toMatchObject({ queryLength: 2, keyLength: 2 })
    expect([...cut.query]).toEqual([0, 1, 2, 3, 6, 7, 8, 9])
    expect([...cut.key]).toEqual([0, 1, 2, 3])
    expect(firstTokens(square, 3)).toBe(square)
    expect(() => firstTokens(square, 4)).toThrow("argument --L: expected at most 3, the input's length, received 4")
  })

  it('refuses to cut an input with fewer queries than keys', () => {
    expect(() => firstTokens(loadInput(write(sound)), 3)).toThrow(
      /expected no length, as the input has 3 queries and 5 keys/,
    )
  })
})

describe('useful work', () => {
  const shape: Shape = {
    batch: 2,
    heads: 3,
    kvHeads: 1,
    queryLength: 4,
    keyLength: 6,
    headDim: 8,
    causal: false,
    softmaxScale: 1,
  }

  it('counts every pair without a mask', () => {
    expect(usefulMacs(shape)).toBe(2 * (4 * 6) * 8 * 3 * 2)
  })

  it('counts visible pairs under a causal mask', () => {
    const causal = { ...shape, causal: true }
    expect([0, 1, 2, 3].map((row) => visibleKeys(causal, row))).toEqual([3, 4, 5, 6])
    expect(usefulMacs(causal)).toBe(2 * (3 + 4 + 5 + 6) * 8 * 3 * 2)
    const fewKeys = { ...causal, keyLength: 2 }
    expect([0, 1, 2, 3].map((row) => visibleKeys(fewKeys, row))).toEqual([0, 0, 1, 2])
  })
})
