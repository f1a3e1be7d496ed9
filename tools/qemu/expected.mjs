import path from 'node:path'
import { fs } from 'zx'
import { cpus, defaultCpu } from './cpu.mjs'
import { countContender, nameOf } from './run.mjs'
import { recordedCompiler } from './toolchain.mjs'

const file = path.join(import.meta.dirname, 'counts.json')

/** What counts may differ from the recorded ones, either way. */
export const margin = 0.03

const problem = { L: [1024], d: 128, heads: 1, causal: false, inputType: 'float32' }

/** Contenders whose counts at L = 1024, d = 128 are recorded. */
export const contenders = ['neon-i8mm', 'neon-dotprod'].flatMap((isa) =>
  [
    { pipeline: 'fp32' },
    { pipeline: 'fp16' },
    { pipeline: 'int8', preset: 'paper' },
    { pipeline: 'int8', preset: 'precise' },
    { pipeline: 'int', preset: 'paper' },
    { pipeline: 'int', preset: 'precise-1' },
    { pipeline: 'int', preset: 'precise' },
  ].map((contender) => ({ engine: 'native', isa, ...contender })),
)

/** Most instructions of `int` on neon-i8mm at L = 1024, d = 128, float32 in and out: what is aimed at. */
export const targets = { paper: 12e6, 'precise-1': 13.5e6, precise: 16.7e6 }

/** Presets that do not reach their target yet, with what they stay under instead. */
export const missed = { paper: 12.3e6, precise: 20.95e6 }

export async function countRecorded(built, contender) {
  const [row] = await countContender({ ...built, cpu: defaultCpu, contender, problem })
  return row
}

/** Query rows of the two runs that whole runs are extrapolated from: multiples of every strip. */
const fewRows = [96, 192]

/**
 * Instructions of a whole run for each length, extrapolated from runs with few query rows: a run costs so much for its
 * keys and so much for each query row.
 * @returns [{ L, total, perElement }]
 */
export async function extrapolate(built, contender, L) {
  const [few, more] = await Promise.all(
    fewRows.map((queries) =>
      countContender({ ...built, cpu: defaultCpu, contender, problem: { ...problem, L, queries } }),
    ),
  )
  const [least, most] = fewRows
  return L.map((length, i) => {
    const perRow = (more[i].total - few[i].total) / (most - least)
    const total = few[i].total + (length - least) * perRow
    return { L: length, total, perElement: total / length ** 2 }
  })
}

/** Counts everything and writes counts.json. Returns its path. */
export async function record({ compiler, qemu }, built) {
  if (compiler.name !== recordedCompiler)
    throw new Error(`--record: expected ${recordedCompiler}, received ${compiler.name} (${compiler.program})`)
  const rows = []
  for (const contender of contenders) {
    const { total, stages } = await countRecorded(built, contender)
    rows.push({ ...contender, total, stages })
  }
  const machine = { cpu: cpus[defaultCpu].qemu, qemu: qemu.version, compiler: compiler.version }
  await fs.writeFile(file, `${JSON.stringify({ ...machine, problem: { ...problem, L: 1024 }, rows }, null, 2)}\n`)
  return path.relative(process.cwd(), file)
}

/** The contents of counts.json; no rows when there is none yet. */
export const readRecorded = async () => ((await fs.pathExists(file)) ? fs.readJson(file) : { rows: [] })

const percent = (part) => `${part > 0 ? '+' : ''}${(100 * part).toFixed(1)} %`

/**
 * What is wrong with a count, or undefined.
 * @param recorded the contents of counts.json
 */
export function difference(row, recorded) {
  const expected = recorded.rows.find((known) => nameOf(known) === nameOf(row))
  if (!expected) return `${nameOf(row)}: not in counts.json; record: node tools/qemu/count.mjs --record`
  const more = row.total - expected.total
  if (Math.abs(more) <= margin * expected.total) return undefined
  const stages = Object.entries(row.stages)
    .filter(([stage, count]) => count !== expected.stages[stage])
    .map(([stage, count]) => `${stage} ${expected.stages[stage]} -> ${count}`)
  const advice = more > 0 ? 'more than recorded; if this is meant' : 'fewer than recorded: keep that'
  return (
    `${nameOf(row)}: ${row.total} instructions, ${percent(more / expected.total)}, ${advice}, record it: ` +
    `node tools/qemu/count.mjs --record\n  ${stages.join(', ')}`
  )
}
