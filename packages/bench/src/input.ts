import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { quoted } from './printable.js'
import { type ByteSource, withFile } from './random-access-file.js'
import {
  type FloatTensor,
  float32Values,
  floatTensor,
  readSafetensors,
  type Safetensors,
  SafetensorsError,
} from './safetensors.js'
import { UsageError } from './usage-error.js'

/** What an attention problem is made of, apart from its numbers. */
export interface Shape {
  batch: number
  heads: number
  kvHeads: number
  queryLength: number
  keyLength: number
  headDim: number
  /** Query i sees keys j <= i + keyLength - queryLength. */
  causal: boolean
  /** Query i sees keys j > i + keyLength - queryLength - window. */
  window?: number
  softmaxScale: number
}

/** One attention problem: query [batch, heads, queryLength, headDim], key and value [batch, kvHeads, keyLength, headDim]. */
export interface Input extends Shape {
  /** Where it comes from, for the report. */
  source: string
  query: Float32Array
  key: Float32Array
  value: Float32Array
}

/** The input without flags: one layer of a real language model on real text; see data/README.md. */
export const bundledInput = fileURLToPath(new URL('../data/smollm2-135m-layer14.safetensors', import.meta.url))

/** Bounds of the API's option `softmaxScale`. */
const MIN_SOFTMAX_SCALE = 1e-30
const MAX_SOFTMAX_SCALE = 1e30

function tensor(file: Safetensors, name: string) {
  const stored = floatTensor(file, name)
  if (stored.shape.length !== 4 || stored.shape.includes(0)) {
    const dims = stored.shape.length > 8 ? `${stored.shape.length} dims` : stored.shape.join(', ')
    throw new SafetensorsError(`tensor "${name}" is [${dims}], not [batch, heads, length, headDim]`)
  }
  const [batch, heads, length, headDim] = stored.shape as [number, number, number, number]
  return { batch, heads, length, headDim, stored }
}

function finiteValues(file: ByteSource, stored: FloatTensor): Float32Array {
  const data = float32Values(file, stored)
  const offender = data.findIndex((x) => !Number.isFinite(x))
  if (offender < 0) return data
  throw new SafetensorsError(`tensor "${stored.name}" holds ${data[offender]} at element ${offender}`)
}

function softmaxScaleOf(text: string | undefined, headDim: number): number {
  if (text === undefined) return 1 / Math.sqrt(headDim)
  const scale = /^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
  if (scale >= MIN_SOFTMAX_SCALE && scale <= MAX_SOFTMAX_SCALE) return scale
  const range = `a decimal number ${MIN_SOFTMAX_SCALE} … ${MAX_SOFTMAX_SCALE}`
  throw new SafetensorsError(`metadata softmax_scale is ${quoted(text)}, not ${range}`)
}

function readInput(file: ByteSource, source: string, requireMemory: (bytes: number) => void): Input {
  const header = readSafetensors(file)
  const query = tensor(header, 'query')
  const key = tensor(header, 'key')
  const value = tensor(header, 'value')
  for (const property of ['batch', 'heads', 'length', 'headDim'] as const) {
    if (key[property] !== value[property]) {
      throw new SafetensorsError(`key and value differ in ${property}: ${key[property]} and ${value[property]}`)
    }
  }
  for (const property of ['batch', 'headDim'] as const) {
    if (query[property] !== key[property]) {
      throw new SafetensorsError(`query and key differ in ${property}: ${query[property]} and ${key[property]}`)
    }
  }
  if (query.heads % key.heads !== 0) {
    throw new SafetensorsError(`${query.heads} query heads are not a multiple of ${key.heads} key heads`)
  }
  const causal = header.metadata.get('causal') ?? 'false'
  if (causal !== 'true' && causal !== 'false') {
    throw new SafetensorsError(`metadata causal is ${quoted(causal)}, neither "true" nor "false"`)
  }
  const softmaxScale = softmaxScaleOf(header.metadata.get('softmax_scale'), query.headDim)
  // Query, key, value and output in float32, the exact output in float64.
  requireMemory(16 * query.stored.count + 8 * key.stored.count)
  return {
    source,
    batch: query.batch,
    heads: query.heads,
    kvHeads: key.heads,
    queryLength: query.length,
    keyLength: key.length,
    headDim: query.headDim,
    causal: causal === 'true',
    softmaxScale,
    query: finiteValues(file, query.stored),
    key: finiteValues(file, key.stored),
    value: finiteValues(file, value.stored),
  }
}

/**
 * Reads `query`, `key` and `value` from a safetensors file of any size and with whatever else in it. Metadata `causal` ("true" or
 * "false", default "false") and `softmax_scale` (decimal, 1e-30 … 1e30, default 1 / sqrt(headDim)) describe the model's own attention.
 *
 * @param requireMemory throws when that many bytes are too many; called before the tensors are read
 * @throws UsageError when the file cannot be read or does not hold that
 */
export function loadInput(path: string, requireMemory: (bytes: number) => void = () => {}): Input {
  try {
    return withFile(path, (file) => readInput(file, basename(path), requireMemory))
  } catch (error) {
    if (error instanceof SafetensorsError) {
      throw new UsageError('--input', 'a safetensors file with query, key and value', `'${path}': ${error.message}`)
    }
    if (error instanceof RangeError) {
      throw new UsageError('--input', 'tensors that fit in memory', `'${path}': ${error.message}`)
    }
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    throw new UsageError('--input', 'a readable file', `'${path}' (${code})`)
  }
}

function firstRows(data: Float32Array, length: number, headDim: number, kept: number): Float32Array {
  const planes = data.length / (length * headDim)
  const cut = new Float32Array(planes * kept * headDim)
  for (let plane = 0; plane < planes; plane++) {
    const begin = plane * length * headDim
    cut.set(data.subarray(begin, begin + kept * headDim), plane * kept * headDim)
  }
  return cut
}

/**
 * The first `length` tokens of an input.
 *
 * @throws UsageError when it has fewer, or not as many queries as keys
 */
export function firstTokens(input: Input, length: number): Input {
  const { queryLength, keyLength, headDim } = input
  if (length === queryLength && length === keyLength) return input
  if (queryLength !== keyLength) {
    throw new UsageError('--L', `no length, as the input has ${queryLength} queries and ${keyLength} keys`, `${length}`)
  }
  if (length > keyLength) throw new UsageError('--L', `at most ${keyLength}, the input's length`, `${length}`)
  return {
    ...input,
    queryLength: length,
    keyLength: length,
    query: firstRows(input.query, keyLength, headDim, length),
    key: firstRows(input.key, keyLength, headDim, length),
    value: firstRows(input.value, keyLength, headDim, length),
  }
}

/** The last query of each head, over all keys. */
export function lastQuery(input: Input): Input {
  const { batch, heads, queryLength, headDim } = input
  const query = new Float32Array(batch * heads * headDim)
  for (let head = 0; head < batch * heads; head++) {
    const end = (head + 1) * queryLength * headDim
    query.set(input.query.subarray(end - headDim, end), head * headDim)
  }
  return { ...input, queryLength: 1, query }
}

/** How many keys query `row` sees. */
export function visibleKeys(shape: Shape, row: number): number {
  const { causal, queryLength, keyLength, window = Number.POSITIVE_INFINITY } = shape
  const position = row + keyLength - queryLength
  const end = causal ? Math.min(keyLength, position + 1) : keyLength
  return Math.max(0, end - Math.max(0, position + 1 - window))
}

/** Useful multiply-accumulates: Q·Kᵀ and P·V over the visible (query, key) pairs, all heads and batch items. */
export function usefulMacs(shape: Shape): number {
  let pairs = 0
  for (let row = 0; row < shape.queryLength; row++) pairs += visibleKeys(shape, row)
  return 2 * pairs * shape.headDim * shape.heads * shape.batch
}
