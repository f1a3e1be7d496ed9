import {
  blockPresets,
  defaultPreset,
  type EngineName,
  type InstructionSet,
  indexPresets,
  instructionSets,
  type Pipeline,
  type Preset,
  pipelines,
  type TensorType,
} from '@intattn/acl'
import { Command, CommanderError } from 'commander'
import { isCheckout, command as program, version } from './installation.js'
import { type Synthetic, synthetics } from './synthetic.js'
import { UsageError } from './usage-error.js'

const engineNames = ['native', 'acl', 'reference'] as const satisfies readonly EngineName[]
const inputTypes = ['float32', 'float16', 'bfloat16', 'int8'] as const satisfies readonly TensorType[]
const presets: readonly Preset[] = [...indexPresets, ...blockPresets]
/** Where keys and values lie when a call begins: float tensors that it quantizes itself, or a quantized cache. */
export const layouts = ['whole', 'pages'] as const
export type Layout = (typeof layouts)[number]

/** What the flags ask for; what is absent is chosen by the benchmark. */
export interface Options {
  pipelines: readonly Pipeline[]
  lengths?: readonly number[]
  headDims?: readonly number[]
  /** One query, at the last position; `lengths` are those of the past with it. */
  decode: boolean
  /** Several are rows beside each other. */
  layouts: readonly Layout[]
  /** Keys that a query sees: so many before it, itself included. */
  window?: number
  heads?: number
  kvHeads?: number
  causal?: boolean
  warmup?: number
  runs?: number
  threads?: readonly number[]
  /** Several are rows beside each other. */
  engines?: readonly EngineName[]
  isa?: InstructionSet
  preset?: Preset
  /** Path of a safetensors file. */
  input?: string
  inputType: (typeof inputTypes)[number]
  synthetic?: Synthetic
  seed: number
  peer?: 'onnxruntime'
  /** Path of a file, or `-`. */
  json?: string
}

const EPILOG = `
Without flags: the bundled real input (query, key and value of one layer of a language model on 1024 tokens of text),
the four pipelines as in the paper and the fused int pipeline with preset ${defaultPreset}; as many rounds as fit the time.
--L, --d, --heads, --kv-heads without --input, or --synthetic: random data.

Pipelines: 0 fp32, 1 fp16, 2 int8 (int8 products, float softmax), 3 int (integer softmax too).

Examples:
  ${program} --L 1024,4096 --d 128 --threads 1 --peer onnxruntime
  ${program} --L 1024,2048,4096,8192,16384 --d 128 --threads 1   (the paper's lengths)
  ${program} --L 1024 --d 128 --threads 1 --engine native,acl
  ${program} --pipe 3 --L 2048 --threads 1,2 --json result.json
  ${program} --past 1024,8192,32768 --heads 9 --kv-heads 3 --d 64 --threads 1 --peer onnxruntime   (decode)
  ${isCheckout ? 'npm run -s bench -- --json -      (-s: without it npm prints lines of its own)' : `${program} --json -`}`

function integer(flag: string, text: string, least: number, most: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= least && value <= most)) throw new UsageError(flag, `an integer ${least} … ${most}`, `'${text}'`)
  return value
}

function integers(flag: string, text: string, least: number, most: number): number[] {
  return [...new Set(text.split(',').map((item) => integer(flag, item.trim(), least, most)))]
}

function oneOf<T extends string>(flag: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === text)
  if (choice === undefined) throw new UsageError(flag, `one of ${choices.join(', ')}`, `'${text}'`)
  return choice
}

function pipelineList(text: string): Pipeline[] {
  if (text === 'all') return [...pipelines]
  const chosen = text.split(',').map((item) => {
    const index = pipelines.findIndex((name, number) => item === name || item === String(number))
    if (index < 0) throw new UsageError('--pipe', 'some of 0, 1, 2, 3, or all', `'${text}'`)
    return index
  })
  return pipelines.filter((_, index) => chosen.includes(index))
}

function layoutList(text: string): Layout[] {
  const asked = text.split(',').map((item) => oneOf('--layout', item.trim(), layouts))
  return layouts.filter((name) => asked.includes(name))
}

function engineList(text: string): EngineName[] {
  const asked = text.split(',').map((item) => oneOf('--engine', item.trim(), engineNames))
  return engineNames.filter((name) => asked.includes(name))
}

function createCommand(): Command {
  const command = new Command('intattn-bench')
    .description('Measures integer attention beside the baselines: latency, accuracy, speed-up.')
    .version(version)
    .exitOverride()
    .configureOutput({ outputError() {} })
    .addHelpText('after', EPILOG)
  const number = (flag: string, text: string, least: number, most: number) =>
    command.option(`${flag} <number>`, text, (value: string) => integer(flag, value, least, most))
  const list = (flag: string, text: string, least: number, most: number) =>
    command.option(`${flag} <list>`, text, (value: string) => integers(flag, value, least, most))
  const choice = (flag: string, text: string, choices: readonly string[]) =>
    command.option(`${flag} <name>`, `${text}: ${choices.join(', ')}`, (value: string) => oneOf(flag, value, choices))

  command.option('--pipe <list>', 'pipelines 0, 1, 2, 3, or all (default: all)', pipelineList)
  list('--L', 'sequence lengths; the first L tokens of an input (default: all of the input, else 1024)', 1, 2 ** 24)
  command.option('--decode', 'one query against a past, the last token of it: what generating a token takes')
  list(
    '--past',
    'with --decode, which it implies: lengths of the past (default: all of the input, else 1024)',
    1,
    2 ** 24,
  )
  command.option(
    '--layout <list>',
    'keys and values of the pipeline 3: whole (float tensors, quantized in each call), pages (a quantized cache) (default: whole, with --decode pages)',
    layoutList,
  )
  number('--window', 'a query sees so many keys, up to its own (default: all)', 1, 2 ** 24)
  list('--d', "head dims (default: the input's, else 128)", 1, 1024)
  number('--heads', "query heads (default: the input's, else 1)", 1, 65536)
  number('--kv-heads', "key and value heads, a divisor of the heads (default: the input's, else as many)", 1, 65536)
  command.option('--causal', 'query i sees keys 0 … i only (default: as the input says, else no)')
  command.option('--no-causal', 'every query sees every key')
  number('--warmup', 'unmeasured rounds (default: 10, fewer when slow)', 0, 1_000_000)
  number('--runs', 'measured rounds (default: 100, fewer when slow)', 1, 1_000_000)
  list('--threads', 'threads (default: all)', 1, 256)
  command.option(
    '--engine <list>',
    `who computes, some of ${engineNames.join(', ')} (default: native, and acl where it runs)`,
    engineList,
  )
  choice('--isa', 'instruction set of the native engine (default: the fastest here)', instructionSets)
  choice('--preset', `of int8 and int (default: paper, and int also with ${defaultPreset})`, presets)
  command.option('--input <file>', 'safetensors file with query, key and value [batch, heads, length, headDim]')
  choice('--input-type', 'what the pipelines are given (default float32)', inputTypes)
  choice('--synthetic', 'random data', synthetics)
  number('--seed', 'of random data and of the order of turns (default: 1)', 0, 2 ** 32 - 1)
  choice('--peer', 'also measure', ['onnxruntime'])
  const silent = isCheckout ? ' (and npm run -s)' : ''
  command.option('--json <file>', `also write the results as JSON; - for stdout, without the table${silent}`)
  return command
}

function usageErrorOf(error: CommanderError, command: Command): UsageError {
  const [, named = ''] = /'([^']*)'/.exec(error.message) ?? []
  const [flag = named] = named.split(' ', 1)
  switch (error.code) {
    case 'commander.unknownOption': {
      const [, meant] = /\(Did you mean (.*)\?\)/.exec(error.message) ?? []
      return new UsageError(flag, meant ? `a known flag, such as ${meant}` : 'a known flag (see --help)', `'${flag}'`)
    }
    case 'commander.optionMissingArgument':
      return new UsageError(flag, 'a value', 'nothing')
    default: {
      const [extra = ''] = command.args
      return new UsageError(`'${extra}'`, 'flags only (see --help)', `'${extra}'`)
    }
  }
}

/** Whether a pipeline takes int8, and has presets. */
export const isQuantized = (pipeline: Pipeline): boolean => pipeline === 'int8' || pipeline === 'int'

function checkTogether(options: Options): void {
  const { input, synthetic, heads, kvHeads, inputType, engines, isa, preset, layouts, pipelines } = options
  if (input !== undefined && synthetic !== undefined) {
    throw new UsageError('--synthetic', 'no --input beside it', `--input '${input}'`)
  }
  if (heads !== undefined && kvHeads !== undefined && heads % kvHeads !== 0) {
    throw new UsageError('--kv-heads', `a divisor of the ${heads} heads`, `${kvHeads}`)
  }
  if (inputType === 'int8' && !pipelines.every(isQuantized)) {
    throw new UsageError('--input-type', 'float32, float16 or bfloat16, for the pipelines 0 and 1', "'int8'")
  }
  if (layouts.includes('pages')) {
    if (!pipelines.includes('int')) throw new UsageError('--layout', 'the pipeline 3 beside it', "'pages'")
    if ((indexPresets as readonly (Preset | undefined)[]).includes(preset)) {
      throw new UsageError(
        '--layout',
        `one of --preset ${blockPresets.join(', ')} beside it`,
        `'pages' and '${preset}'`,
      )
    }
    if (inputType === 'int8') throw new UsageError('--input-type', 'floats with --layout pages', "'int8'")
    if (engines?.includes('acl')) throw new UsageError('--layout', 'no --engine acl beside it', "'pages'")
  }
  if (preset !== undefined && !pipelines.some(isQuantized)) {
    throw new UsageError('--preset', 'the pipeline 2 or 3 beside it', `'${preset}'`)
  }
  if (engines && !engines.includes('native') && isa !== undefined) {
    throw new UsageError('--isa', `no --engine ${engines} beside it`, `'${isa}'`)
  }
  if (engines?.includes('reference') && engines.length > 1) {
    throw new UsageError('--engine', 'reference, which is no contender in speed, by itself', `'${engines}'`)
  }
}

/**
 * Reads the flags.
 *
 * @param flags without node and script
 * @returns undefined when `--help` or `--version` has been printed
 * @throws UsageError
 */
export function parseFlags(flags: readonly string[]): Options | undefined {
  const command = createCommand()
  try {
    command.parse(flags, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return undefined
    throw usageErrorOf(error, command)
  }
  const { pipe, L, d, engine, past, layout, ...others } = command.opts()
  const inputType = others.inputType ?? 'float32'
  const decode = others.decode ?? past !== undefined
  if (decode && L) throw new UsageError('--L', 'no --decode or --past beside it', `${L}`)
  const ofAll = decode ? (['fp32', 'int'] as const) : pipelines
  const options: Options = {
    ...others,
    ...((L ?? past) && { lengths: L ?? past }),
    decode,
    layouts: layout ?? [decode ? 'pages' : 'whole'],
    ...(d && { headDims: d }),
    ...(engine && { engines: engine }),
    pipelines: pipe ?? (inputType === 'int8' ? ofAll.filter(isQuantized) : ofAll),
    inputType,
    seed: others.seed ?? 1,
  }
  checkTogether(options)
  return options
}
