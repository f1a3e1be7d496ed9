import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { float32Values, readSafetensors, type Safetensors, SafetensorsError } from './safetensors.js'
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

function tensor(file: Safetensors, name: string) {
  const stored = file.tensors.get(name)
  if (!stored) throw new SafetensorsError(`there is no tensor "${name}"`)
  if (stored.shape.length !== 4 || stored.shape.includes(0)) {
    throw new SafetensorsError(`tensor "${name}" is [${stored.shape.join(', ')}], not [batch, heads, length, headDim]`)
  }
  const [batch, heads, length, headDim] = stored.shape as [number, number, number, number]
  const data = float32Values(stored)
  const offender = data.findIndex((x) => !Number.isFinite(x))
  if (offender >= 0) throw new SafetensorsError(`tensor "${name}" holds ${data[offender]} at element ${offender}`)
  return { batch, heads, length, headDim, data }
}

function parseInput(bytes: Uint8Array, source: string): Input {
  const file = readSafetensors(bytes)
  const query = tensor(file, 'query')
  const key = tensor(file, 'key')
  const value = tensor(file, 'value')
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
  const causal = file.metadata.get('causal') ?? 'false'
  if (causal !== 'true' && causal !== 'false') {
    throw new SafetensorsError(`metadata causal is ${JSON.stringify(causal)}, neither "true" nor "false"`)
  }
  const scaleText = file.metadata.get('softmax_scale')
  const softmaxScale = scaleText === undefined ? 1 / Math.sqrt(query.headDim) : Number(scaleText)
  if (!(softmaxScale > 0 && softmaxScale < Number.POSITIVE_INFINITY)) {
    throw new SafetensorsError(`metadata softmax_scale is ${JSON.stringify(scaleText)}, not a positive number`)
  }
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
    query: query.data,
    key: key.data,
    value: value.data,
  }
}

/**
 * Reads `query`, `key` and `value` from a safetensors file. Metadata `causal` ("true" or "false", default "false") and
 * `softmax_scale` (default 1 / sqrt(headDim)) describe the model's own attention.
 *
 * @throws UsageError when the file cannot be read or does not hold that
 */
export function loadInput(path: string): Input {
  try {
    return parseInput(readFileSync(path), basename(path))
  } catch (error) {
    if (error instanceof SafetensorsError) {
      throw new UsageError('--input', 'a safetensors file with query, key and value', `'${path}': ${error.message}`)
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

/** How many keys query `row` sees. */
export function visibleKeys(shape: Shape, row: number): number {
  if (!shape.causal) return shape.keyLength
  return Math.max(0, Math.min(shape.keyLength, row + 1 + shape.keyLength - shape.queryLength))
}

/** Useful multiply-accumulates: Q·Kᵀ and P·V over the visible (query, key) pairs, all heads and batch items. */
export function usefulMacs(shape: Shape): number {
  let pairs = 0
  for (let row = 0; row < shape.queryLength; row++) pairs += visibleKeys(shape, row)
  return 2 * pairs * shape.headDim * shape.heads * shape.batch
}
