import { boolean, fail, integer, oneOf, real, record, type Snapshot } from './checks.js'
import { availableResources } from './resources/resources.js'
import { type ResolvedTable, resolveTable, tableOptionNames } from './table.js'
import { type Normalization, type Pipeline, type Preset, pipelines, type Quantization } from './types.js'

/** Greatest number of values per head. */
export const maxHeadDim = 1024
const maxHeads = 65536
const maxThreads = 256

/** Options with every default settled; those the pipeline does not have are absent. */
export interface ResolvedOptions {
  readonly pipeline: Pipeline
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly causal: boolean
  readonly softmaxScale: number
  readonly threads: number
  /** Pipelines `int8` and `int`, as the four below. */
  readonly preset?: Preset
  readonly quantization?: Readonly<Quantization>
  readonly smoothKey?: boolean
  readonly centerValue?: boolean
  /** Pipeline `int` only, as all below. */
  readonly normalization?: Normalization
  readonly table?: 'natural' | 'exp2'
  /** Table `natural` only, as `lutBits`. */
  readonly clip?: number
  readonly lutBits?: 4 | 5 | 6
}

/** What the int8 GEMMs need. */
export interface QuantizedOptions extends ResolvedOptions {
  readonly quantization: Readonly<Quantization>
  readonly smoothKey: boolean
  readonly centerValue: boolean
}

/** What the `int` pipeline needs. */
export type IntegerOptions = QuantizedOptions & ResolvedTable & { readonly normalization: Normalization }

/** Defaults of the quantized pipelines; section 8 of the numeric specification. */
const presets = {
  precise: {
    quantization: { query: 'row', key: 'head', value: 'channel' },
    smoothKey: true,
    centerValue: true,
    table: 'exp2',
    normalization: 'deferred',
  },
  paper: {
    quantization: { query: 'tensor', key: 'tensor', value: 'tensor' },
    smoothKey: false,
    centerValue: false,
    table: 'natural',
    normalization: 'integer',
  },
} as const

const commonNames = ['pipeline', 'heads', 'kvHeads', 'headDim', 'causal', 'softmaxScale', 'threads', 'engine', 'isa']
const quantizedNames = ['preset', 'quantization', 'smoothKey', 'centerValue']
const integerNames = ['normalization', ...tableOptionNames]
const allNames = [...commonNames, ...quantizedNames, ...integerNames]

/** The options as the caller asks for them: what is undefined is left to defaults. */
export const readOptions = (given: unknown): Snapshot => record(given, 'options', allNames)

/** Check options and settle defaults; `engine` and `isa` are left to the choice of an engine. */
export function resolveOptions(options: Snapshot): ResolvedOptions {
  const or = (name: string, byDefault: unknown) => (options[name] === undefined ? byDefault : options[name])
  const { threads = defaultThreads() } = options

  const pipeline = oneOf(or('pipeline', 'int'), 'pipeline', pipelines)
  for (const name of [...quantizedNames, ...integerNames]) {
    if (options[name] === undefined || hasOption(pipeline, name)) continue
    fail('UNKNOWN_OPTION', name, `no such option with pipeline '${pipeline}'`, options[name])
  }

  const heads = integer(options.heads, 'heads', 1, maxHeads)
  const kvHeads = integer(or('kvHeads', heads), 'kvHeads', 1, maxHeads)
  if (heads % kvHeads !== 0) fail('SHAPE_MISMATCH', 'kvHeads', `a divisor of heads (${heads})`, kvHeads)
  const headDim = integer(options.headDim, 'headDim', 1, maxHeadDim)
  const common = {
    pipeline,
    heads,
    kvHeads,
    headDim,
    causal: boolean(or('causal', false), 'causal'),
    softmaxScale: real(or('softmaxScale', 1 / Math.sqrt(headDim)), 'softmaxScale', 1e-30, 1e30),
    threads: integer(threads, 'threads', 1, maxThreads),
  }
  if (pipeline === 'fp32' || pipeline === 'fp16') return Object.freeze(common)

  const preset = oneOf(or('preset', 'precise'), 'preset', ['precise', 'paper'])
  const defaults = presets[preset]
  const quantized = {
    ...common,
    preset,
    quantization: resolveQuantization(or('quantization', {}), defaults.quantization),
    smoothKey: boolean(or('smoothKey', defaults.smoothKey), 'smoothKey'),
    centerValue: boolean(or('centerValue', defaults.centerValue), 'centerValue'),
  }
  if (pipeline === 'int8') return Object.freeze(quantized)

  return Object.freeze({
    ...quantized,
    normalization: oneOf(or('normalization', defaults.normalization), 'normalization', ['integer', 'deferred']),
    ...resolveTable(options, defaults.table),
  })
}

const defaultThreads = (): number => Math.min(availableResources().threads, maxThreads)

export const isQuantized = (options: ResolvedOptions): options is QuantizedOptions => options.quantization !== undefined
export const isInteger = (options: ResolvedOptions): options is IntegerOptions => options.pipeline === 'int'

function hasOption(pipeline: Pipeline, name: string): boolean {
  return pipeline === 'int' || (pipeline === 'int8' && quantizedNames.includes(name))
}

function resolveQuantization(given: unknown, defaults: Quantization): Readonly<Quantization> {
  const scopes = record(given, 'quantization', ['query', 'key', 'value'], 'quantization.')
  const { query = defaults.query, key = defaults.key, value = defaults.value } = scopes
  return Object.freeze({
    query: oneOf(query, 'quantization.query', ['tensor', 'head', 'row']),
    key: oneOf(key, 'quantization.key', ['tensor', 'head']),
    value: oneOf(value, 'quantization.value', ['tensor', 'head', 'channel']),
  })
}
