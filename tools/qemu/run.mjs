import os from 'node:os'
import path from 'node:path'
import { $, fs } from 'zx'
import { emulator } from './cpu.mjs'

/**
 * Runs a program for arm64 and returns what it executed between its marks.
 * @returns [{ total, stages: { prepare, …, other }, blocks? }], one for each pair of begin and end marks
 */
export async function countRegions({ plugin, program, args = [], cpu, blocks = false }) {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'intattn-count-'))
  try {
    const out = path.join(directory, 'counts.json')
    const commas = (text) => text.replaceAll(',', ',,')
    const option = `${commas(plugin)},out=${commas(out)},blocks=${blocks ? 'on' : 'off'}`
    const command = [...emulator(cpu), '-plugin', option, program, ...args]
    const { exitCode, signal, stderr } = await $({ nothrow: true, quiet: true })`${command}`
    if (/plugin|stage_count/i.test(stderr))
      throw new Error(`qemu-aarch64 does not take ${path.basename(plugin)}: ${stderr.trim()}`)
    if (exitCode !== 0) throw new Error(stderr.trim() || `${path.basename(program)} ended with ${signal ?? exitCode}`)
    const { regions, error } = await fs.readJson(out)
    if (error) throw new Error(`${path.basename(program)} ${args.join(' ')}: ${error}`)
    for (const { foreign } of regions)
      if (foreign > 0)
        throw new Error(`${path.basename(program)}: expected one thread, but others executed ${foreign} instructions`)
    return regions
  } finally {
    await fs.remove(directory)
  }
}

/** What the count program can do on an emulated CPU: { features, engines, instructionSets }. */
export async function capabilities(program, cpu) {
  const { stdout } = await $({ quiet: true })`${emulator(cpu)} ${program} --list`
  return JSON.parse(stdout)
}

const pipelines = ['fp32', 'fp16', 'int8', 'int']

/** A row's name, such as `native neon-i8mm int paper`. */
export const nameOf = ({ engine, isa, pipeline, preset }) => [engine, isa, pipeline, preset].filter(Boolean).join(' ')

/** Pairs of a query and a key it sees, in all heads. */
function scoreElements({ L, queries, heads, causal }) {
  if (!causal) return heads * queries * L
  let visible = 0
  for (let query = 0; query < queries; query += 1) visible += Math.max(0, Math.min(L, query + 1 + L - queries))
  return heads * visible
}

/**
 * Counts one contender at several lengths.
 * @param contender { engine, isa, pipeline, preset }; `isa` of engine native, `preset` of int8 and int
 * @param problem { L: [], queries, d, heads, causal, inputType }; `queries` as many as keys when undefined
 */
export async function countContender({ plugin, program, cpu, contender, problem, blocks }) {
  const { engine, isa, pipeline, preset } = contender
  const { L, queries, d, heads, causal, inputType } = problem
  const optional = (flag, value) => (value === undefined ? [] : [flag, `${value}`])
  const args = [
    ...['--engine', engine, '--pipe', `${pipelines.indexOf(pipeline)}`],
    ...['--L', L.join(','), '--d', `${d}`, '--heads', `${heads}`, '--input-type', inputType],
    ...optional('--isa', isa),
    ...optional('--preset', preset),
    ...optional('--queries', queries),
    ...(causal ? ['--causal'] : []),
  ]
  const regions = await countRegions({ plugin, program, args, cpu, blocks })
  return regions.map(({ total, stages, blocks }, i) => {
    const shape = { L: L[i], queries: queries ?? L[i], d, heads, causal, inputType }
    return { ...contender, ...shape, total, stages, perElement: total / scoreElements(shape), blocks }
  })
}

export { pipelines }
