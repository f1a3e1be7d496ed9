import type { CallOverhead } from '../call-overhead.js'
import type { Machine } from '../machine.js'
import { printableJson } from '../printable.js'
import type { TableResult } from '../results.js'

/** The results for programs, schema `intattn-bench/1`. */
export function formatJson(machine: Machine, callOverheadUs: CallOverhead, tables: readonly TableResult[]): string {
  const results = tables.flatMap((table) => table.results)
  const peers = tables.flatMap((table) => table.peers)
  const content = { schema: 'intattn-bench/1', machine, callOverheadUs, results, peers }
  return `${printableJson(JSON.stringify(content, null, 2))}\n`
}
