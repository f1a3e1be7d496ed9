import type { CallOverhead } from '../call-overhead.js'
import type { Machine } from '../machine.js'
import { printable } from '../printable.js'
import { type PeerResult, type Problem, type Result, ratioToPeer, type TableResult } from '../results.js'
import { extremes, MIN_SAMPLES_FOR_P95, medianOf } from '../statistics.js'
import { milliseconds, NONE, newTable, ratio } from './layout.js'

/** From this ratio of p95 to median on, the reader is warned. */
const NOISY = 1.5
const stages = ['prepare', 'scores', 'softmax', 'values', 'output'] as const

function small(value: number): string {
  return value !== 0 && value < 1e-3 ? value.toExponential(1) : value.toFixed(4)
}

/** Each stage's part of the total in %; what is missing to 100 is waiting. */
function stageShares({ stagesMs, medianMs, engine }: Result): string {
  if (engine === 'reference') return NONE
  return stages.map((stage) => `${Math.round((100 * stagesMs[stage]) / medianMs)}`.padStart(3)).join(' ')
}

function problemTitle(problem: Problem): string {
  const { L, queryLength, d, heads, kvHeads, batch, causal, window, input, inputType } = problem
  const of = isDecode(problem) ? 'past' : 'L'
  const queries = queryLength === L || isDecode(problem) ? '' : `, ${queryLength} queries`
  const limit = window === null ? '' : `, window ${window}`
  const items = batch === 1 ? '' : `, batch ${batch}`
  const mask = causal ? ', causal' : ''
  return `${of} ${L}${queries}, d ${d}, heads ${heads}, kvHeads ${kvHeads}${items}${mask}${limit}; ${printable(input)}; ${inputType} in`
}

/** The first lines: what the numbers depend on. */
export function formatMachine(machine: Machine): string {
  const { cpu, cores, availableThreads, memoryGiB, power, load, os, arch, node, version, commit, engines } = machine
  const sets = engines
    .flatMap(({ instructionSets }) => instructionSets.filter(({ available }) => available))
    .map(({ name, requires }) => (requires ? `${name} (${requires})` : name))
  const built = engines.flatMap(({ name, library, compiler = library?.compiler }) =>
    compiler === undefined ? [] : [`${name} by ${compiler}`],
  )
  // ComputeLibrary is for arm64: elsewhere nobody misses it.
  const absent = engines.flatMap(({ name, reason }) =>
    reason !== undefined && arch === 'arm64' ? [`${name}: ${reason}`] : [],
  )
  return [
    `intattn-bench ${version}${commit ? `, commit ${commit}` : ''}`,
    `cpu      ${cpu}, ${cores} cores (${availableThreads} for this process), ${memoryGiB} GiB${power ? `, ${power}` : ''}, load ${load}`,
    `isa      ${sets.join(', ') || 'none'}`,
    ...(built.length ? [`built    ${built.join(', ')}`] : []),
    ...absent.map((line) => `without  ${line}`),
    `system   ${os} ${arch}, Node ${node}`,
    '',
  ].join('\n')
}

interface Column {
  head: string
  own(result: Result): string
  peer(result: PeerResult): string
}

/** A column that reads the same for a peer. */
const column = (head: string, text: (timing: Result | PeerResult) => string): Column => ({
  head,
  own: text,
  peer: text,
})
/** A column that a peer leaves open. */
const ownColumn = (head: string, own: (result: Result) => string): Column => ({ head, own, peer: () => NONE })

const isDecode = ({ queryLength, L }: Problem): boolean => queryLength === 1 && L > 1
const bytesPerToken = ({ cacheBytes, L, kvHeads, batch }: Result): string =>
  cacheBytes === null ? NONE : (cacheBytes / (L * kvHeads * batch)).toFixed(1)

/** The columns of names, and those of numbers. */
function columnsOf({ problem, results, peers }: TableResult): { names: Column[]; numbers: Column[] } {
  const severalThreads = new Set(results.map(({ threads }) => threads)).size > 1
  const [peer] = peers
  const besideAcl = results.some(({ ratioToAclFp16 }) => ratioToAclFp16 !== null)
  const severalLayouts = results.some(({ layout }) => layout !== 'whole')
  return {
    names: [
      { head: 'pipeline', own: ({ pipeline }) => pipeline, peer: () => 'fp32' },
      { head: 'engine', own: ({ engine }) => engine, peer: ({ name }) => name },
      ownColumn('isa', ({ isa }) => isa ?? NONE),
      ownColumn('preset', ({ preset }) => preset ?? NONE),
      ...(severalLayouts ? [ownColumn('layout', ({ layout }) => layout)] : []),
    ],
    numbers: [
      ...(severalThreads ? [column('threads', ({ threads }) => `${threads}`)] : []),
      column('min ms', ({ minMs }) => milliseconds(minMs)),
      column('median ms', ({ medianMs }) => milliseconds(medianMs)),
      column('p95 ms', ({ p95Ms, runs }) => (runs < MIN_SAMPLES_FOR_P95 ? NONE : milliseconds(p95Ms))),
      ...(isDecode(problem)
        ? [
            ownColumn('bytes', bytesPerToken),
            ownColumn('GB/s', ({ gigabytesPerSecond }) => gigabytesPerSecond.toFixed(1)),
            ownColumn('of read', ({ shareOfBandwidth }) => ratio(shareOfBandwidth)),
          ]
        : [column('GMAC/s', ({ gmacPerSecond }) => gmacPerSecond.toFixed(1))]),
      ownColumn('x fp32', ({ ratioToFp32 }) => ratio(ratioToFp32)),
      ...(besideAcl ? [ownColumn('x acl fp16', ({ ratioToAclFp16 }) => ratio(ratioToAclFp16))] : []),
      ...(peer ? [ownColumn(`x ${peer.name}`, (result) => ratio(ratioToPeer(result, peers)))] : []),
      column('rel. L2', ({ accuracy }) => small(accuracy.relL2)),
      column('cosine', ({ accuracy }) => accuracy.cosine.toFixed(5)),
      ownColumn('prep QK soft PV out %', stageShares),
    ],
  }
}

/** What one looks for first: how much faster `int` is, with each preset. */
function formatSpeedup({ results, peers }: TableResult): string[] {
  const severalThreads = new Set(results.map(({ threads }) => threads)).size > 1
  const severalEngines = new Set(results.map(({ engine }) => engine)).size > 1
  return results
    .filter(({ pipeline }) => pipeline === 'int')
    .flatMap((result) => {
      const { engine, preset, threads, ratioToFp32, ratioToAclFp16, accuracy } = result
      const toPeer = ratioToPeer(result, peers)
      const ratios = [
        ...(ratioToFp32 === null ? [] : [`${ratioToFp32.toFixed(2)} x as fast as fp32`]),
        ...(ratioToAclFp16 === null ? [] : [`${ratioToAclFp16.toFixed(2)} x as fast as ComputeLibrary's fp16`]),
        ...(toPeer === null ? [] : [`${toPeer.toFixed(2)} x as fast as ${peers[0]?.name}`]),
      ]
      if (ratios.length === 0) return []
      const title = `${severalEngines ? `${engine} ` : ''}int, ${preset}${severalThreads ? `, threads ${threads}` : ''}`
      return [`${title}: ${ratios.join(', ')}; rel. L2 error ${small(accuracy.relL2)}`]
    })
}

/** One problem: a title, a row for each contender, and the speed-up. */
export function formatTable(result: TableResult): string {
  const { problem, rounds, results, peers } = result
  const { names, numbers } = columnsOf(result)
  const columns = [...names, ...numbers]
  const table = newTable(
    names.map(({ head }) => head),
    numbers.map(({ head }) => head),
  )
  table.push(...results.map((row) => columns.map(({ own }) => own(row))))
  table.push(...peers.map((row) => columns.map(({ peer }) => peer(row))))
  const threads = [...new Set(results.map((row) => row.threads))].join(', ')
  const { warmup, runs } = rounds
  const title = `${problemTitle(problem)}; threads ${threads}; warmup ${warmup}, runs ${runs}`
  return `${[title, table.toString(), ...formatSpeedup(result)].join('\n')}\n`
}

/** The last lines: what the columns mean, and what to keep in mind. */
export function formatNotes(callOverhead: CallOverhead, tables: readonly TableResult[]): string {
  const results = tables.flatMap((table) => table.results)
  const peers = tables.flatMap((table) => table.peers)
  const timings = [...results, ...peers]
  const coldUs = medianOf(results.map(({ callOverheadUs }) => callOverheadUs)).toFixed(1)
  const [syncUs, asyncUs] = [callOverhead.runSync, callOverhead.run].map((us) => us.toFixed(1))
  const notes = [
    'ms: inside the engine, contenders in turn, in random order each round.',
    `A call from TypeScript takes more: ${syncUs} µs runSync, ${asyncUs} µs await run (warm, one token, one thread);`,
    `runSync in the rounds above, with caches cold after the contender before: ${coldUs} µs.`,
    ...(tables.every(({ problem }) => isDecode(problem))
      ? [
          'bytes: of the cache, per token and KV head. GB/s: what a call reads of keys and values, at the median;',
          'of read: that rate over the rate of a plain read of as many bytes as the cache has, in the same rounds.',
        ]
      : ['GMAC/s: useful multiply-accumulates, 2 x visible (query, key) pairs x d x heads, at the median.']),
    'x …: how many times as fast, ratio of medians. rel. L2, cosine: to attention in float64 of the float32 input.',
    'Last column: shares of the median; prepare (convert, quantize, pack), QK scores, softmax, PV values, output; ' +
      'the rest is waiting.',
  ]
  if (timings.some(({ runs }) => runs < MIN_SAMPLES_FOR_P95)) {
    notes.push(`p95: – with fewer than ${MIN_SAMPLES_FOR_P95} runs.`)
  }
  for (const { problem, results: rows } of tables) {
    const compared = rows[0]?.accuracy.rows ?? problem.queryLength
    if (compared === problem.queryLength) continue
    notes.push(
      `L ${problem.L}, d ${problem.d}: accuracy from ${compared} of ${problem.queryLength} queries of each head.`,
    )
  }
  const memoryMiB = Math.max(...results.map(({ memoryBytes }) => memoryBytes)) / 2 ** 20
  if (memoryMiB > 0) notes.push(`Working memory beside inputs and output: at most ${memoryMiB.toFixed(1)} MiB a row.`)
  if (results.some(({ inputType }) => inputType === 'int8')) {
    notes.push('int8 in: query, key and value are quantized before the time is taken.')
  }
  const [peer] = peers
  if (peer) {
    const [least, most] = extremes(peers.map(({ callOverheadMs }) => callOverheadMs * 1000)).map((us) => us.toFixed(0))
    const overhead = least === most ? least : `${least} … ${most}`
    notes.push(
      `${peer.name} ${peer.version}: ${peer.operator}, float32 in, timed from JavaScript; ` +
        `x ${peer.name} leaves out ${overhead} µs, the time of its call on one token` +
        `${results.some((result) => ratioToPeer(result, peers) === null) ? ' (–: less than that is left).' : '.'}`,
    )
    const isGrouped = peer.operator.endsWith('GroupQueryAttention')
    if (isGrouped)
      notes.push(`${peer.name}: past and present are one buffer; the last token is written to it in each call.`)
    if (peers.some(({ heads }) => !isGrouped && heads > 1)) {
      notes.push(`${peer.name}: the operator takes [length, heads, d]; its transposes are part of its time.`)
    }
    if (peers.some(({ heads, kvHeads }) => !isGrouped && heads !== kvHeads)) {
      notes.push(
        `${peer.name}: the operator has no grouped heads; keys and values are repeated before the time is taken.`,
      )
    }
    if (peers.some(({ causal }) => !isGrouped && causal)) {
      notes.push(
        `${peer.name}: under a causal mask the operator computes and stores all heads x L x L scores: ` +
          'about twice the useful work is in its time.',
      )
    }
  }
  const noisy = timings.filter(({ p95Ms, medianMs }) => p95Ms > NOISY * medianMs).length
  if (noisy > 0) {
    const [, worst] = extremes(timings.map(({ p95Ms, medianMs }) => p95Ms / medianMs))
    notes.push(
      `Noisy: in ${noisy} of ${timings.length} rows the slowest runs take up to ${worst.toFixed(1)} times the median. ` +
        'Is the machine idle?',
    )
  }
  return `${notes.join('\n')}\n`
}
