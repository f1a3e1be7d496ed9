import { fail, oneOf, record, type Snapshot } from '../checks/checks.js'
import { type EngineName, type Pipeline, type Preset, pipelines } from '../types.js'
import { type BlockOptions, blockOptionNames, resolveBlockOptions } from './block-options.js'
import { type CommonOptions, commonNames, resolveCommon } from './common-options.js'
import {
  type IndexOptions,
  indexOptionNames,
  type QuantizedOptions,
  resolveIndexOptions,
  resolveQuantizedOptions,
  softmaxOptionNames,
} from './index-options.js'
import { isIndexPreset, resolvePreset } from './presets.js'

/** Options with every default settled; those that the pipeline, or the version of its arithmetic, does not have are absent. */
export interface ResolvedOptions
  extends CommonOptions,
    Partial<Omit<BlockOptions, keyof CommonOptions | 'version' | 'preset'>>,
    Partial<Pick<IndexOptions, 'quantization' | 'normalization' | 'table'>> {
  readonly pipeline: Pipeline
  /** Of the numeric specification; pipelines `int8` (always 1) and `int`, as the preset. */
  readonly version?: 1 | 2
  readonly preset?: Preset
  /** Table `natural` only, as `lutBits`. */
  readonly clip?: number
  readonly lutBits?: 4 | 5 | 6
}

const quantizedNames = ['preset', 'smoothKey', 'centerValue']
const ownNames = ['pipeline', 'softcap', 'engine', 'isa']
const allNames = [...ownNames, ...commonNames, ...quantizedNames, ...blockOptionNames, ...indexOptionNames]

/** The options as the caller asks for them: what is undefined is left to defaults. */
export const readOptions = (given: unknown): Snapshot => record(given, 'options', allNames)

/** Check options and settle defaults, some of which the engine decides; `isa` is left to the choice of an engine. */
export function resolveOptions(options: Snapshot, engine: EngineName): ResolvedOptions {
  const { pipeline: wanted = 'int' } = options
  const pipeline = oneOf(wanted, 'pipeline', pipelines)
  if (options.softcap !== undefined) {
    fail(
      'UNKNOWN_OPTION',
      'softcap',
      'no softcap, which is not supported: tanh differs between machines',
      options.softcap,
    )
  }
  const reject = (names: readonly string[], where: string) => {
    for (const name of names) {
      if (options[name] !== undefined) fail('UNKNOWN_OPTION', name, `no such option with ${where}`, options[name])
    }
  }
  const where = `pipeline '${pipeline}'`
  if (pipeline === 'fp32' || pipeline === 'fp16') {
    reject([...quantizedNames, ...blockOptionNames, ...indexOptionNames], where)
    return Object.freeze({ pipeline, ...resolveCommon(options) })
  }
  if (pipeline === 'int8') reject([...blockOptionNames, ...softmaxOptionNames], where)

  const preset = resolvePreset(options.preset, pipeline, engine)
  const common = resolveCommon(options)
  if (!isIndexPreset(preset)) {
    reject(indexOptionNames, `preset '${preset}', of version 2`)
    return Object.freeze({ pipeline, ...resolveBlockOptions(options, preset, common) })
  }
  reject(blockOptionNames, `preset '${preset}', of version 1`)
  const resolve = pipeline === 'int' ? resolveIndexOptions : resolveQuantizedOptions
  return Object.freeze({ pipeline, ...resolve(options, preset, common) })
}

type Resolved<Options> = ResolvedOptions & Options

export const isQuantized = (options: ResolvedOptions): options is Resolved<QuantizedOptions> => options.version === 1
export const isIndex = (options: ResolvedOptions): options is Resolved<IndexOptions> =>
  options.version === 1 && options.pipeline === 'int'
export const isBlock = (options: ResolvedOptions): options is Resolved<BlockOptions> => options.version === 2
