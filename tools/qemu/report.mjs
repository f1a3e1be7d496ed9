import Table from 'cli-table3'
import { nameOf } from './run.mjs'

export const label = 'modelled: executed instructions, not time'

const stages = ['prepare', 'scores', 'softmax', 'values', 'output', 'other']
const FRAME = {
  ...{ top: '', 'top-left': '', 'top-mid': '', 'top-right': '' },
  ...{ bottom: '', 'bottom-left': '', 'bottom-mid': '', 'bottom-right': '' },
  ...{ left: '', middle: '  ', right: '' },
  ...{ 'left-mid': '', mid: '─', 'mid-mid': '──', 'right-mid': '' },
}

/** Instructions in millions. */
export const millions = (instructions) => (instructions / 1e6).toFixed(instructions < 1e9 ? 3 : 1)

/** A table without frame: names to the left, numbers to the right. */
export function table(head, names, rows) {
  const made = new Table({
    head,
    colAligns: head.map((_, i) => (i < names ? 'left' : 'right')),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0, compact: true },
    chars: FRAME,
  })
  made.push(...rows)
  return made.toString()
}

function titleOf({ L, queries, d, heads, causal, inputType }) {
  const rows = queries === L ? '' : `, ${queries} queries`
  return `L ${L}${rows}, d ${d}, heads ${heads}${causal ? ', causal' : ''}; ${inputType} in; threads 1`
}

/**
 * How many times as many instructions each baseline takes as each row.
 * @param baselines names such as `acl fp16` or `acl int paper`: the first row whose name has all these words
 */
export function withRatios(rows, baselines) {
  const chosen = baselines.map((baseline) => [
    baseline,
    rows.find((row) => baseline.split(' ').every((word) => nameOf(row).split(' ').includes(word))),
  ])
  return rows.map((row) => ({
    ...row,
    ratios: Object.fromEntries(chosen.filter(([, base]) => base).map(([name, base]) => [name, base.total / row.total])),
  }))
}

/** Rows of one length as a table. */
export function formatCounts(rows) {
  const baselines = Object.keys(rows[0].ratios)
  const head = [
    'engine',
    'isa',
    'pipeline',
    'preset',
    'total M',
    ...stages,
    'per element',
    ...baselines.map((b) => `x ${b}`),
  ]
  const body = rows.map(({ engine, isa, pipeline, preset, total, stages: counts, perElement, ratios }) => [
    ...[engine, isa ?? '–', pipeline, preset ?? '–', millions(total)],
    ...stages.map((stage) => millions(counts[stage])),
    perElement.toFixed(2),
    ...baselines.map((baseline) => ratios[baseline].toFixed(2)),
  ])
  return `${titleOf(rows[0])}\n${table(head, 4, body)}\n`
}

export const notes = [
  'M: millions of executed instructions; per element: of one query and one key it sees.',
  'other: between stages. x …: how many times as many the baseline takes.',
]
