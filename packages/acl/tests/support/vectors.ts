import { readFileSync } from 'node:fs'
import type { AttentionOptions, Normalization, Quantization, Table } from '../../src/index.js'

/** Conformance vectors of an independent oracle; see the numeric specification. */
function load<Case>(name: string): Case[] {
  return JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8')).cases
}

interface TableCase {
  table: Table
  clip: number | null
  lutBits: 4 | 5 | 6 | null
}

export interface IndexSoftmaxCase extends TableCase {
  name: string
  rows: number
  cols: number
  logitScale: number
  lut: number[]
  shift: number
  threshold: number
  multiplier: number
  scores: number[]
  valid: number[] | null
  /** null where masked */
  indices: (number | null)[]
  weight: number[]
  rowSum: number[]
  plane: number[]
  lost: number[]
  normalized: number[]
}

export interface AttentionCase {
  name: string
  batch: number
  heads: number
  kvHeads: number
  queryLength: number
  keyLength: number
  headDim: number
  options: TableCase & {
    causal: boolean
    keyLengths: number[] | null
    quantization: Quantization
    normalization: Normalization
    smoothKey: boolean
    centerValue: boolean
  }
  query: number[]
  key: number[]
  value: number[]
  queryInt8: number[]
  keyInt8: number[]
  valueInt8: number[]
  queryScale: number[]
  keyScale: number[]
  valueScale: number[]
  valueCenter: number[]
  scores: number[]
  probabilities: number[]
  rowSum: number[]
  lost: number[]
  output: number[]
  float64Attention: number[]
}

export const indexSoftmaxCases = load<IndexSoftmaxCase>('index_softmax')
export const attentionCases = load<AttentionCase>('attention')

/** A vector's table as options. */
export function tableOf({ table, clip, lutBits }: TableCase) {
  return table === 'exp2' ? { table } : { table, clip: clip!, lutBits: lutBits! }
}

/** A vector's options as this package takes them. */
export function optionsOf({ heads, kvHeads, headDim, options }: AttentionCase): AttentionOptions {
  const { causal, quantization, normalization, smoothKey, centerValue } = options
  const common = { heads, kvHeads, headDim, causal, quantization, normalization, smoothKey, centerValue }
  return { pipeline: 'int', preset: 'precise-1', ...common, ...tableOf(options) }
}

/** A vector's tensors as this package takes them. */
export function inputsOf(vector: AttentionCase) {
  const { batch, heads, kvHeads, queryLength, keyLength, headDim, options } = vector
  const dims = { query: [batch, heads, queryLength, headDim], key: [batch, kvHeads, keyLength, headDim] }
  const tensor = (shape: number[], data: number[]) =>
    ({ type: 'float32', dims: shape, data: Float32Array.from(data) }) as const
  return {
    query: tensor(dims.query, vector.query),
    key: tensor(dims.key, vector.key),
    value: tensor(dims.key, vector.value),
    ...(options.keyLengths && { keyLengths: options.keyLengths }),
  }
}
