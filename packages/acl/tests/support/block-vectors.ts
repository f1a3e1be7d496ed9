import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import type { AttentionInputs, AttentionOptions, BlockIntermediates, FloatTensor, Tensor } from '../../src/index.js'
import { tensor } from './tensors.js'

/** JSON has no word for these. */
export type Numeral = number | 'nan' | 'inf' | '-inf'

interface Shape {
  batch: number
  heads: number
  kvHeads: number
  queryLength: number
  keyLength: number
  headDim: number
  valueDim: number
}

/** One call; see the vectors' README. */
export interface AttentionCall extends Shape {
  name: string
  options: {
    causal: boolean
    keyLengths: number[] | null
    window: number | null
    keepFirst: number
    softmaxScale: number | null
    smoothKey: boolean | null
    centerValue: boolean | null
    rotate: boolean
    queryStart: number[] | null
    preset: 'precise' | 'fast' | 'compact' | 'smallest' | 'finest'
    bits: { query: 8 | 15; key: 8 | 7 | 4; value: 8 | 4; plane: 8 | 7 | 14 }
    outputType: 'float32' | 'float16'
    slopes: Numeral[] | null
    sinks: Numeral[] | null
    keyOffset: Numeral[] | null
    valueOffset: Numeral[] | null
    bias: Numeral[] | null
    biasShape: number[] | null
    mask: number[] | null
    maskShape: number[] | null
  }
  query: Numeral[]
  key: Numeral[]
  value: Numeral[]
  inputScales: Record<'query' | 'key' | 'value', Numeral[] | null>
}

/** Per batch item; large ones leave arrays out. */
export type AttentionItem = { keys: number; logSumExp: Numeral[]; output: Numeral[] } & {
  [name in Exclude<keyof BlockIntermediates, 'version'>]?: (Numeral | string | null)[] | null
}

export interface AttentionCase extends AttentionCall {
  items: AttentionItem[]
}

export interface AttentionError extends AttentionCall {
  /** What for. */
  error: string
}

export interface SoftmaxCase {
  name: string
  cols: number
  unit: number
  scores: number[]
  keyScale: number[] | null
  valueScale: number[] | null
  bias: Numeral[] | null
  valid: number[] | null
  sink: Numeral | null
  slope: number | null
  position: number | null
  planeBits: 8 | 7 | 14
  x: Numeral[]
  distance: number[]
  weight: number[]
  blockExponent: (number | null)[]
  blockSum: number[]
  rowSum: string
  valueExponent: (number | null)[]
  folded: number[]
  shift: number[]
  plane: number[]
}

export type RowCase = { name: string; rows: number; dim: number; input: Numeral[] } & (
  | { kind: 'rotate'; rotated: number[]; back: number[] }
  | {
      kind: 'quantize'
      bits: 15 | 8 | 7 | 4
      values: number[]
      scale: Numeral[]
      mantissa: number[]
      exponent: (number | null)[]
    }
  | { kind: 'mantissa'; weights: number[] }
  | { kind: 'mean'; mean: Numeral[] }
)

/** What is done with numbered caches, of which number 0 is there from the beginning; see the vectors' README. */
export type CacheStep = { cache: number; error?: string } & (
  | {
      op: 'append'
      count: number
      key: Numeral[]
      value: Numeral[]
      inputScales?: Record<'key' | 'value', Numeral[] | null>
      keyInt8?: number[]
      valueInt8?: number[]
      keyScale?: Numeral[]
      valueScale?: Numeral[]
      length: number
    }
  | ({
      op: 'attend'
      caches: number[]
      queryLength: number
      query: Numeral[]
      inputScales: { query: Numeral[] | null }
      plane?: number[]
      blockExponent?: (number | null)[]
      valueExponent?: (number | null)[]
      shift?: number[]
      rowSum?: string[]
      logSumExp: Numeral[]
      output: Numeral[]
    } & Pick<AttentionCall['options'], 'queryStart' | 'bias' | 'biasShape' | 'mask' | 'maskShape'>)
  | { op: 'new' | 'free'; length: number }
  | { op: 'truncate'; to: number; length: number }
  | { op: 'fork'; from: number; length: number }
  | { op: 'create' }
)

export interface CacheCase
  extends Pick<AttentionCall, 'name' | 'heads' | 'kvHeads' | 'headDim' | 'valueDim' | 'options'> {
  steps: CacheStep[]
}

function load<Content>(name: string): Content {
  const packed = readFileSync(new URL(`../vectors/2/${name}.json.gz`, import.meta.url))
  return JSON.parse(gunzipSync(packed).toString())
}

export const rowCases = load<{ cases: RowCase[] }>('rows').cases
export const softmaxCases = load<{ cases: SoftmaxCase[] }>('block_softmax').cases
export const { cases: attentionCases, errors: attentionErrors } = load<{
  cases: AttentionCase[]
  errors: AttentionError[]
}>('attention')

export const { cases: cacheCases, errors: cacheErrors } = load<{ cases: CacheCase[]; errors: CacheCase[] }>('cache')

const words: Record<string, number> = { nan: Number.NaN, inf: Infinity, '-inf': -Infinity }

export const toNumber = (numeral: Numeral): number => (typeof numeral === 'number' ? numeral : words[numeral]!)
export const toFloat32 = (numerals: Numeral[]): Float32Array => Float32Array.from(numerals, toNumber)

/** Bits are named where the preset by itself has others. */
export function optionsOf(
  call: Pick<AttentionCall, 'name' | 'heads' | 'kvHeads' | 'headDim' | 'valueDim' | 'options'>,
): AttentionOptions {
  const { heads, kvHeads, headDim, valueDim, name, options } = call
  const { causal, window, keepFirst, softmaxScale, smoothKey, centerValue, rotate, preset, bits } = options
  const named = (name.startsWith('bits ') || name.startsWith('query 15 bits')) && {
    queryBits: bits.query,
    keyBits: bits.key,
    valueBits: bits.value,
    planeBits: bits.plane,
  }
  const is = <T>(value: T | null): value is T => value !== null
  return {
    ...{ heads, kvHeads, headDim, valueDim, causal, keepFirst },
    preset: preset === 'smallest' ? 'compact' : preset,
    ...(preset === 'smallest' && { keyBits: 4 }),
    ...named,
    ...(!rotate && { rotate }),
    ...(is(window) && { window }),
    ...(is(softmaxScale) && { softmaxScale }),
    ...(is(smoothKey) && { smoothKey }),
    ...(is(centerValue) && { centerValue }),
    ...(options.slopes && { alibiSlopes: toFloat32(options.slopes) }),
    ...(options.sinks && { sinks: options.sinks.map(toNumber) }),
    ...(options.keyOffset && { keyOffset: toFloat32(options.keyOffset) }),
    ...(options.valueOffset && { valueOffset: toFloat32(options.valueOffset) }),
  }
}

export function inputsOf(call: AttentionCall): AttentionInputs {
  const { batch, heads, kvHeads, queryLength, keyLength, headDim, valueDim, inputScales, options } = call
  const operand = (name: 'query' | 'key' | 'value', dims: number[]): Tensor => {
    const values = call[name].map(toNumber)
    const scales = inputScales[name]
    return scales ? tensor('int8', dims, values, toFloat32(scales)) : tensor('float32', dims, values)
  }
  const { mask, maskShape, bias, biasShape, outputType, keyLengths, queryStart } = options
  const outputDims = [batch, heads, queryLength, valueDim]
  return {
    query: operand('query', [batch, heads, queryLength, headDim]),
    key: operand('key', [batch, kvHeads, keyLength, headDim]),
    value: operand('value', [batch, kvHeads, keyLength, valueDim]),
    ...(keyLengths && { keyLengths }),
    ...(queryStart && { queryStart }),
    ...(mask && { mask: { type: 'bool', dims: maskShape!, data: Uint8Array.from(mask) } }),
    ...(bias && { bias: tensor('float32', biasShape!, bias.map(toNumber)) }),
    ...(outputType === 'float16' && { output: emptyHalf(outputDims) }),
  }
}

function emptyHalf(dims: number[]): FloatTensor {
  return { type: 'float16', dims, data: new Uint16Array(dims.reduce((product, dim) => product * dim)) }
}
