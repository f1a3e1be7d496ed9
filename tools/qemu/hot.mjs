import { $ } from 'zx'
import { millions, table } from './report.mjs'

const buckets = ['prepare', 'scores', 'softmax', 'values', 'output', 'other']
/** Part of all instructions that is looked at: the rest is spread over too many places to disassemble. */
const covered = 0.999
/** Places closer than this many bytes are disassembled together. */
const near = 65536

/** Executions of every instruction: address -> by stage. Translation blocks may overlap. */
function byAddress(blocks) {
  const executions = new Map()
  for (const [address, instructions, ...counts] of blocks) {
    for (let i = 0; i < instructions; i += 1) {
      const at = address + 4 * i
      const known = executions.get(at)
      executions.set(at, known ? known.map((count, b) => count + counts[b]) : counts)
    }
  }
  return executions
}

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0)

function hottest(executions) {
  const sorted = [...executions].sort(([, a], [, b]) => sum(b) - sum(a))
  const enough = covered * sum(sorted.map(([, counts]) => sum(counts)))
  let seen = 0
  const chosen = []
  for (const [address, counts] of sorted) {
    if (seen >= enough) break
    seen += sum(counts)
    chosen.push(address)
  }
  return chosen.sort((a, b) => a - b)
}

/** Disassembly: address -> { name, text }. */
async function disassemble(objdump, program, addresses) {
  const lines = new Map()
  const quiet = $({ quiet: true, maxBuffer: 2 ** 30 })
  for (let i = 0; i < addresses.length; ) {
    const start = addresses[i]
    let stop = start + 4
    for (; i < addresses.length && addresses[i] < stop + near; i += 1) stop = addresses[i] + 4
    const range = [`--start-address=${start}`, `--stop-address=${stop}`]
    const { stdout } = await quiet`${objdump} -d --no-show-raw-insn ${range} ${program}`
    for (const line of stdout.split('\n')) {
      const [, address, text] = line.match(/^\s*([0-9a-f]+):\s+(\S.*)$/) ?? []
      if (address) lines.set(Number.parseInt(address, 16), text.replace(/\s+/g, ' ').replace(/ (\/\/|;).*/, ''))
    }
  }
  return lines
}

/** Functions in order of address: [{ address, name }]. */
async function functionsOf(objdump, program) {
  const { stdout } = await $({ quiet: true, maxBuffer: 2 ** 30 })`${objdump} -t -C ${program}`
  const functions = []
  for (const line of stdout.split('\n')) {
    const [, address, name] = line.match(/^([0-9a-f]+) .{7} \.text\s+[0-9a-f]+\s+(?:\.hidden )?(.+)$/) ?? []
    if (name && !name.startsWith('$')) functions.push({ address: Number.parseInt(address, 16), name })
  }
  return functions.sort((a, b) => a.address - b.address)
}

function functionAt(functions, address) {
  let low = 0
  let high = functions.length
  while (low + 1 < high) {
    const middle = (low + high) >> 1
    if (functions[middle].address <= address) low = middle
    else high = middle
  }
  return functions[low] ?? { address: 0, name: '?' }
}

/** Names without template arguments and parameters, which fill lines. */
function shortName(name) {
  let depth = 0
  let short = ''
  const plain = name.replaceAll('(anonymous namespace)', '{anonymous}')
  for (const c of plain) {
    if (c === '(' && depth === 0) break
    if (c === '<') depth += 1
    if (depth === 0) short += c
    if (c === '>') depth -= 1
  }
  return short.slice(0, 90)
}

function totals(entries) {
  const byName = new Map()
  for (const [name, counts] of entries) {
    const known = byName.get(name) ?? buckets.map(() => 0)
    byName.set(
      name,
      known.map((count, b) => count + counts[b]),
    )
  }
  return [...byName].sort(([, a], [, b]) => sum(b) - sum(a))
}

function stageTable(title, rows, all) {
  const body = rows.map(([name, counts]) => [
    name,
    millions(sum(counts)),
    `${((100 * sum(counts)) / all).toFixed(1)} %`,
    ...counts.map(millions),
  ])
  return table([title, 'total M', 'share', ...buckets], 1, body)
}

/** Instructions that follow each other in one function and are executed equally often. */
function runsOf(addresses, executions, functions) {
  const runs = []
  for (const address of addresses) {
    const counts = executions.get(address)
    const { name } = functionAt(functions, address)
    const last = runs.at(-1)
    if (last && last.end === address && last.name === name && sum(last.counts) === sum(counts)) last.end += 4
    else runs.push({ begin: address, end: address + 4, counts, name })
  }
  const weight = ({ begin, end, counts }) => ((end - begin) / 4) * sum(counts)
  return runs.map((run) => ({ ...run, weight: weight(run) })).sort((a, b) => b.weight - a.weight)
}

function formatRun({ begin, end, counts, name, weight }, text, all) {
  const share = ((100 * weight) / all).toFixed(1)
  const where = buckets.filter((_, b) => counts[b] > 0).join(', ')
  const title = `${share} %: ${(end - begin) / 4} instructions, ${sum(counts)} times, in ${where}: ${shortName(name)}`
  const lines = []
  for (let address = begin; address < end; address += 4)
    lines.push(`  ${address.toString(16)}  ${text.get(address) ?? '?'}`)
  return [title, ...lines].join('\n')
}

/**
 * What a region's instructions are: by mnemonic, by function, and the most executed stretches of code.
 * @param row counted with blocks
 * @param count how many of each
 */
export async function formatHot(objdump, program, { total, blocks }, count) {
  const executions = byAddress(blocks)
  const addresses = hottest(executions)
  const [text, functions] = await Promise.all([disassemble(objdump, program, addresses), functionsOf(objdump, program)])
  const entries = addresses.map((address) => [address, executions.get(address)])
  const mnemonics = totals(entries.map(([address, counts]) => [(text.get(address) ?? '?').split(' ')[0], counts]))
  const names = totals(entries.map(([address, counts]) => [shortName(functionAt(functions, address).name), counts]))
  const runs = runsOf(addresses, executions, functions).slice(0, count)
  return [
    stageTable('mnemonic', mnemonics.slice(0, Math.max(count, 24)), total),
    stageTable('function', names.slice(0, Math.max(count, 12)), total),
    ...runs.map((run) => formatRun(run, text, total)),
    '',
  ].join('\n\n')
}
