import { type Problem, type Result, ratioToPeer, type TableResult } from '../results.js'
import { milliseconds, NONE, newTable, ratio } from './layout.js'

/** A column of the overview. */
function titleOf({ L, queryLength, d }: Problem, problems: readonly Problem[]): string {
  const severalDims = new Set(problems.map((problem) => problem.d)).size > 1
  const length = queryLength === L ? `L ${L}` : `past ${L}`
  return severalDims ? `${length}, d ${d}` : length
}

/** How the contenders go with the problem's size: each one's median on every problem, and how many times as fast it is as the baseline. */
export function formatOverview(tables: readonly TableResult[]): string {
  const [first] = tables
  if (!first) return ''
  const all = tables.flatMap(({ results }) => results)
  const besideAcl = all.some(({ ratioToAclFp16 }) => ratioToAclFp16 !== null)
  const severalThreads = new Set(all.map(({ threads }) => threads)).size > 1
  const cell = (ms: number, times: number | null) => `${milliseconds(ms)} (${ratio(times)})`
  const baselineRatio = ({ ratioToAclFp16, ratioToFp32 }: Result) => (besideAcl ? ratioToAclFp16 : ratioToFp32)

  const problems = tables.map(({ problem }) => problem)
  const names = ['pipeline', 'engine', 'preset', ...(severalThreads ? ['threads'] : [])]
  const table = newTable(
    names,
    problems.map((problem) => titleOf(problem, problems)),
  )
  const threadsOf = (threads: number) => (severalThreads ? [`${threads}`] : [])
  // Every problem has the same contenders in the same order.
  for (const [i, { pipeline, engine, preset, threads }] of first.results.entries()) {
    const cells = tables.map(({ results }) => cell(results[i]!.medianMs, baselineRatio(results[i]!)))
    table.push([pipeline, engine, preset ?? NONE, ...threadsOf(threads), ...cells])
  }
  for (const [i, { name, threads }] of first.peers.entries()) {
    const cells = tables.map(({ results, peers }) => {
      const { medianMs } = peers[i]!
      const fp32 = results.find((result) => result.pipeline === 'fp32' && result.threads === threads)
      const slower = fp32 ? ratioToPeer(fp32, peers) : null
      return cell(medianMs, besideAcl || slower === null ? null : 1 / slower)
    })
    table.push(['fp32', name, NONE, ...threadsOf(threads), ...cells])
  }
  const baseline = besideAcl ? "ComputeLibrary's fp16" : 'fp32 of the same engine'
  return `All sizes: median ms (times as fast as ${baseline})\n${table.toString()}\n`
}
