import { float16Value } from '@intattn/acl'

/** The format's own bound on the header, against files that would make a reader allocate without end. */
const MAX_HEADER_BYTES = 100_000_000

const BYTES_PER_ELEMENT: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
}

/** The bytes are not a safetensors file, or not one with what is needed; the message says where. */
export class SafetensorsError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'SafetensorsError'
  }
}

/** One tensor of a file: dense, row-major, little-endian. */
export interface StoredTensor {
  dtype: string
  shape: number[]
  bytes: Uint8Array
}

/** A file's tensors by name and its `__metadata__`. */
export interface Safetensors {
  metadata: Map<string, string>
  tensors: Map<string, StoredTensor>
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parseHeader(file: Uint8Array): { header: Record<string, unknown>; data: Uint8Array } {
  if (file.byteLength < 8) throw new SafetensorsError(`the file has ${file.byteLength} bytes, too few for a header`)
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const length = view.getBigUint64(0, true)
  if (length > MAX_HEADER_BYTES)
    throw new SafetensorsError(`the header's length, ${length}, exceeds ${MAX_HEADER_BYTES}`)
  const end = 8 + Number(length)
  if (end > file.byteLength) {
    throw new SafetensorsError(`the header's length, ${length}, reaches beyond the file's ${file.byteLength} bytes`)
  }
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(file.subarray(8, end)))
  } catch {
    throw new SafetensorsError('the header is not JSON in UTF-8')
  }
  if (!isObject(header)) throw new SafetensorsError('the header is not a JSON object')
  return { header, data: file.subarray(end) }
}

function parseMetadata(value: unknown): Map<string, string> {
  if (!isObject(value)) throw new SafetensorsError('__metadata__ is not an object')
  const entries = Object.entries(value)
  for (const [key, text] of entries) {
    if (typeof text !== 'string') throw new SafetensorsError(`__metadata__ ${JSON.stringify(key)} is not a string`)
  }
  return new Map(entries as [string, string][])
}

function parseTensor(name: string, value: unknown, data: Uint8Array): { tensor: StoredTensor; begin: number } {
  const fail = (why: string) => new SafetensorsError(`tensor ${JSON.stringify(name)}: ${why}`)
  if (!isObject(value)) throw fail('its entry is not an object')
  const { dtype, shape, data_offsets: offsets } = value
  const width =
    typeof dtype === 'string' && Object.hasOwn(BYTES_PER_ELEMENT, dtype) ? BYTES_PER_ELEMENT[dtype] : undefined
  if (width === undefined) throw fail(`unknown dtype ${JSON.stringify(dtype)}`)
  if (!Array.isArray(shape) || !shape.every(isCount)) throw fail('shape is not a list of lengths')
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fail('data_offsets is not a pair of positions')
  }
  const [begin, end] = offsets as [number, number]
  if (begin > end || end > data.byteLength) {
    throw fail(`data_offsets ${begin} … ${end} lie outside the ${data.byteLength} bytes of data`)
  }
  const expected = shape.reduce((product, length) => product * length, width)
  if (expected !== end - begin) {
    throw fail(`[${shape.join(', ')}] of ${dtype} takes ${expected} bytes, data_offsets hold ${end - begin}`)
  }
  return { tensor: { dtype: dtype as string, shape, bytes: data.subarray(begin, end) }, begin }
}

/**
 * Reads a safetensors file from memory. Strict: the tensors must fill the data without overlap and without a gap.
 *
 * @throws SafetensorsError
 */
export function readSafetensors(file: Uint8Array): Safetensors {
  const { header, data } = parseHeader(file)
  const tensors = new Map<string, StoredTensor>()
  const extents: { name: string; begin: number; end: number }[] = []
  let metadata = new Map<string, string>()
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      metadata = parseMetadata(value)
      continue
    }
    const { tensor, begin } = parseTensor(name, value, data)
    tensors.set(name, tensor)
    extents.push({ name, begin, end: begin + tensor.bytes.byteLength })
  }
  extents.sort((left, right) => left.begin - right.begin || left.end - right.end)
  let filled = 0
  for (const { name, begin, end } of extents) {
    if (begin !== filled) {
      const what =
        begin < filled ? 'overlaps the tensor before it' : `leaves a gap of ${begin - filled} bytes before it`
      throw new SafetensorsError(`tensor ${JSON.stringify(name)}: ${what}`)
    }
    filled = end
  }
  if (filled !== data.byteLength) throw new SafetensorsError(`${data.byteLength - filled} bytes belong to no tensor`)
  return { metadata, tensors }
}

/**
 * The values of an F32, F16 or BF16 tensor, widened exactly.
 *
 * @throws SafetensorsError for another dtype
 */
export function float32Values(tensor: StoredTensor): Float32Array {
  const aligned = new Uint8Array(tensor.bytes).buffer
  switch (tensor.dtype) {
    case 'F32':
      return new Float32Array(aligned)
    case 'F16':
      return Float32Array.from(new Uint16Array(aligned), float16Value)
    case 'BF16':
      // bfloat16 is the upper half of float32.
      return new Float32Array(Uint32Array.from(new Uint16Array(aligned), (half) => half << 16).buffer)
    default:
      throw new SafetensorsError(`dtype ${tensor.dtype} is none of F32, F16, BF16`)
  }
}
