import { oneOf, record, type Snapshot } from '../checks/checks.js'
import type { Normalization, Quantization } from '../types.js'
import { noAddend } from './addends.js'
import { type CommonOptions, resolveMean } from './common-options.js'
import type { IndexPreset } from './presets.js'
import { type ResolvedTable, resolveTable, tableOptionNames } from './table.js'

/** What the int8 GEMMs of version 1 need: pipeline `int8`. */
export interface QuantizedOptions extends CommonOptions {
  readonly version: 1
  readonly preset: IndexPreset
  readonly quantization: Readonly<Quantization>
  readonly smoothKey: boolean
  readonly centerValue: boolean
}

/** What pipeline `int` of version 1 needs. */
export type IndexOptions = QuantizedOptions & ResolvedTable & { readonly normalization: Normalization }

/** Section 8 of the specification's version 1. */
const presets = {
  'precise-1': {
    quantization: { query: 'row', key: 'head', value: 'channel' },
    means: true,
    table: 'exp2',
    normalization: 'deferred',
  },
  paper: {
    quantization: { query: 'tensor', key: 'tensor', value: 'tensor' },
    means: false,
    table: 'natural',
    normalization: 'integer',
  },
} as const

/** Those that pipeline `int8` does not have. */
export const softmaxOptionNames = ['normalization', ...tableOptionNames]
/** Those that version 2 does not have. */
export const indexOptionNames = ['quantization', ...softmaxOptionNames]

export function resolveQuantizedOptions(
  options: Snapshot,
  preset: IndexPreset,
  common: CommonOptions,
): QuantizedOptions {
  const { means, quantization: scopes } = presets[preset]
  const { quantization = {} } = options
  return {
    ...common,
    version: 1,
    preset,
    quantization: resolveQuantization(quantization, scopes),
    smoothKey: resolveMean(options, 'smoothKey', means),
    centerValue: resolveMean(options, 'centerValue', means),
  }
}

export function resolveIndexOptions(options: Snapshot, preset: IndexPreset, common: CommonOptions): IndexOptions {
  for (const name of ['alibiSlopes', 'sinks']) {
    if (options[name] !== undefined) noAddend(name, preset, options[name])
  }
  const { normalization = presets[preset].normalization } = options
  return {
    ...resolveQuantizedOptions(options, preset, common),
    normalization: oneOf(normalization, 'normalization', ['integer', 'deferred']),
    ...resolveTable(options, presets[preset].table),
  }
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
