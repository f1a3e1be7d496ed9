import { Command, InvalidArgumentError } from 'commander'
import { cpus, defaultCpu } from './cpu.mjs'
import { pipelines } from './run.mjs'

const presets = ['paper', 'precise', 'precise-1', 'fast', 'compact', 'finest']
const presetsHelp = `of int8 and int: ${presets.join(', ')}; int8 has the first two, acl paper and precise-1`

/** The presets among these that an engine has for a pipeline. */
export function presetsOf(engine, pipeline, asked) {
  if (!isQuantized(pipeline)) return [undefined]
  if (pipeline === 'int8') return asked.filter((preset) => preset === 'paper' || preset === 'precise')
  if (engine === 'native') return asked
  // ComputeLibrary's sequences are those of version 1.
  const known = asked.map((preset) => (preset === 'precise' ? 'precise-1' : preset))
  return [...new Set(known)].filter((preset) => preset === 'paper' || preset === 'precise-1')
}

export const isQuantized = (pipeline) => pipeline === 'int8' || pipeline === 'int'

function integer(least, most) {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`expected an integer of ${least} … ${most}, received '${text}'`)
    return value
  }
}

function list(one) {
  return (text) => [...new Set(text.split(',').map(one))]
}

function oneOf(choices) {
  return (text) => {
    if (choices.includes(text)) return text
    throw new InvalidArgumentError(`expected one of ${choices.join(', ')}, received '${text}'`)
  }
}

const pipelineList = (text) => (text === 'all' ? pipelines : list(integer(0, 3))(text).map((i) => pipelines[i]))

/** The command line of count.mjs; fails with exit code 2 and a message. */
export function readArguments(argv) {
  const command = new Command('count.mjs')
    .description('Counts the arm64 instructions that engines and pipelines execute, by stage, under qemu-aarch64.')
    .option('--engine <list>', 'native, acl', list(oneOf(['native', 'acl'])), ['native'])
    .option('--isa <list>', "engine native's instruction sets, or all (default: the fastest of the CPU)")
    .option('--pipe <list>', 'pipelines 0, 1, 2, 3, or all', pipelineList, pipelines)
    .option('--preset <list>', presetsHelp, list(oneOf(presets)), ['paper', 'precise'])
    .option('--L <list>', 'sequence lengths', list(integer(1, 2 ** 18)), [1024])
    .option('--queries <number>', 'query rows (default: as many as keys)', integer(1, 2 ** 18))
    .option('--d <number>', 'head dim', integer(1, 1024), 128)
    .option('--heads <number>', 'heads', integer(1, 65536), 1)
    .option('--causal', 'a query sees no later keys', false)
    .option('--input-type <name>', 'float32, int8', oneOf(['float32', 'int8']), 'float32')
    .option('--cpu <name>', `emulated CPU: ${Object.keys(cpus).join(', ')}`, oneOf(Object.keys(cpus)), defaultCpu)
    .option('--baseline <list>', 'rows to compare with, by words of their names', 'acl fp16,acl int')
    .option('--compute-library <prefix>', 'a built ComputeLibrary, for engine acl (default: of this repository)')
    .option('--compiler <program>', 'a clang++ (default: clang++-19)')
    .option('--build <directory>', 'where to build (default: tools/qemu/build)')
    .option('--hot [number]', 'also by mnemonic, by function, and the most executed code', integer(1, 1000))
    .option('--json <file>', 'also write the counts as JSON; - for stdout, without the table')
    .option('--record', 'write counts.json, what the tests expect, and nothing else')
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  command.parse(argv, { from: 'user' })
  const options = command.opts()
  if (options.inputType === 'int8' && !options.pipe.every(isQuantized))
    command.error('error: --input-type: expected float32 with the pipelines 0 and 1, received int8 (give --pipe 2,3)')
  if (options.isa !== undefined && !options.engine.includes('native'))
    command.error(`error: --isa: expected --engine native beside it, received ${options.engine}`)
  return {
    ...options,
    pipelines: options.pipe,
    isa: options.isa?.split(','),
    baseline: options.baseline.split(','),
    hot: options.hot === true ? 8 : options.hot,
  }
}
