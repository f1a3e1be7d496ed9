import { float16Value } from '@intattn/acl'
import { quoted } from './printable.js'
import type { ByteSource } from './random-access-file.js'

/** The format's own bound on the header, against files that would make a reader allocate without end. */
const MAX_HEADER_BYTES = 100_000_000
/** A header nests three deep: the file, a tensor, its shape. */
const MAX_HEADER_DEPTH = 8
/** Members of all objects and lists of a header: six or so a tensor. Parsers take minutes for many times as many. */
const MAX_HEADER_MEMBERS = 1_000_000

const BYTES_PER_ELEMENT: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2 }
/** Elements that are widened at a time. */
const CHUNK = 2 ** 20

/** The bytes are not a safetensors file, or not one with what is needed; the message says where. */
export class SafetensorsError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'SafetensorsError'
  }
}

/** Where a file says that a tensor lies, in bytes from its beginning; what the tensor is has not been judged yet. */
export interface Extent {
  dtype: unknown
  shape: unknown
  begin: number
  end: number
}

/** A file's extents by name and its `__metadata__`. */
export interface Safetensors {
  metadata: Map<string, string>
  extents: Map<string, Extent>
}

/** A tensor that can be read as float32: dense, row-major, little-endian. */
export interface FloatTensor {
  name: string
  dtype: 'F32' | 'F16' | 'BF16'
  shape: number[]
  begin: number
  /** Elements. */
  count: number
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Refuses what would take a parser more memory than there is, before it is parsed. */
function requireModest(json: Uint8Array): void {
  let [depth, members, inString] = [0, 0, false]
  for (let i = 0; i < json.length; i++) {
    const character = json[i]
    if (inString) {
      if (character === 0x5c) i++
      else if (character === 0x22) inString = false
      continue
    }
    if (character === 0x22) inString = true
    else if (character === 0x5b || character === 0x7b) depth++
    else if (character === 0x5d || character === 0x7d) depth--
    else if (character === 0x2c) members++
    if (depth > MAX_HEADER_DEPTH) throw new SafetensorsError(`the header nests deeper than ${MAX_HEADER_DEPTH} levels`)
    if (members > MAX_HEADER_MEMBERS) {
      throw new SafetensorsError(`the header has more than ${MAX_HEADER_MEMBERS} members`)
    }
  }
}

function parseHeader(file: ByteSource): { header: Record<string, unknown>; dataBegin: number } {
  if (file.byteLength < 8) throw new SafetensorsError(`the file has ${file.byteLength} bytes, too few for a header`)
  const start = new Uint8Array(8)
  file.read(start, 0)
  const length = new DataView(start.buffer).getBigUint64(0, true)
  if (length > MAX_HEADER_BYTES)
    throw new SafetensorsError(`the header's length, ${length}, exceeds ${MAX_HEADER_BYTES}`)
  const end = 8 + Number(length)
  if (end > file.byteLength) {
    throw new SafetensorsError(`the header's length, ${length}, reaches beyond the file's ${file.byteLength} bytes`)
  }
  const bytes = new Uint8Array(Number(length))
  file.read(bytes, 8)
  requireModest(bytes)
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new SafetensorsError('the header is not JSON in UTF-8')
  }
  if (!isObject(header)) throw new SafetensorsError('the header is not a JSON object')
  return { header, dataBegin: end }
}

function parseMetadata(value: unknown): Map<string, string> {
  // Some writers have no metadata and say so.
  if (value === null) return new Map()
  if (!isObject(value)) throw new SafetensorsError('__metadata__ is not an object')
  const entries = Object.entries(value)
  for (const [key, text] of entries) {
    if (typeof text !== 'string') throw new SafetensorsError(`__metadata__ ${quoted(key)} is not a string`)
  }
  return new Map(entries as [string, string][])
}

function parseExtent(name: string, value: unknown, dataBegin: number, dataBytes: number): Extent {
  const fail = (why: string) => new SafetensorsError(`tensor ${quoted(name)}: ${why}`)
  if (!isObject(value)) throw fail('its entry is not an object')
  const { dtype, shape, data_offsets: offsets } = value
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fail('data_offsets is not a pair of positions')
  }
  const [begin, end] = offsets as [number, number]
  if (begin > end || end > dataBytes) {
    throw fail(`data_offsets ${begin} … ${end} lie outside the ${dataBytes} bytes of data`)
  }
  return { dtype, shape, begin: dataBegin + begin, end: dataBegin + end }
}

/**
 * Reads the header of a safetensors file, and nothing else of it. The tensors must fill the data without overlap and without a gap;
 * their types and shapes are not looked at.
 *
 * @throws SafetensorsError
 */
export function readSafetensors(file: ByteSource): Safetensors {
  const { header, dataBegin } = parseHeader(file)
  const extents = new Map<string, Extent>()
  let metadata = new Map<string, string>()
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') metadata = parseMetadata(value)
    else extents.set(name, parseExtent(name, value, dataBegin, file.byteLength - dataBegin))
  }
  const inOrder = [...extents].sort(([, left], [, right]) => left.begin - right.begin || left.end - right.end)
  let filled = dataBegin
  for (const [name, { begin, end }] of inOrder) {
    if (begin !== filled) {
      const what =
        begin < filled ? 'overlaps the tensor before it' : `leaves a gap of ${begin - filled} bytes before it`
      throw new SafetensorsError(`tensor ${quoted(name)}: ${what}`)
    }
    filled = end
  }
  if (filled !== file.byteLength) throw new SafetensorsError(`${file.byteLength - filled} bytes belong to no tensor`)
  return { metadata, extents }
}

/**
 * Judges a tensor that is to be read.
 *
 * @throws SafetensorsError when there is none of that name, or not one of F32, F16, BF16
 */
export function floatTensor({ extents }: Safetensors, name: string): FloatTensor {
  const fail = (why: string) => new SafetensorsError(`tensor ${quoted(name)}: ${why}`)
  const extent = extents.get(name)
  if (!extent) throw new SafetensorsError(`there is no tensor ${quoted(name)}`)
  const { dtype, shape, begin, end } = extent
  const width =
    typeof dtype === 'string' && Object.hasOwn(BYTES_PER_ELEMENT, dtype) ? BYTES_PER_ELEMENT[dtype] : undefined
  if (width === undefined) {
    throw fail(`dtype ${typeof dtype === 'string' ? quoted(dtype) : 'is no name and'} is none of F32, F16, BF16`)
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) throw fail('shape is not a list of lengths')
  const count = shape.reduce((product, length) => product * length, 1)
  if (count * width !== end - begin) {
    const dims = shape.length > 8 ? `${shape.length} dims` : `[${shape.join(', ')}]`
    throw fail(`${dims} of ${dtype} takes ${count * width} bytes, data_offsets hold ${end - begin}`)
  }
  return { name, dtype: dtype as FloatTensor['dtype'], shape, begin, count }
}

/** Reads a tensor, widened exactly. */
export function float32Values(file: ByteSource, { dtype, begin, count }: FloatTensor): Float32Array {
  const values = new Float32Array(count)
  if (dtype === 'F32') {
    file.read(new Uint8Array(values.buffer), begin)
    return values
  }
  const halves = new Uint16Array(Math.min(CHUNK, count))
  // bfloat16 is the upper half of float32.
  const bits = new Uint32Array(values.buffer)
  for (let first = 0; first < count; first += CHUNK) {
    const chunk = halves.subarray(0, count - first)
    file.read(new Uint8Array(chunk.buffer, 0, chunk.byteLength), begin + 2 * first)
    for (let i = 0; i < chunk.length; i++) {
      if (dtype === 'F16') values[first + i] = float16Value(chunk[i]!)
      else bits[first + i] = chunk[i]! << 16
    }
  }
  return values
}
