import { randomUUID } from 'node:crypto'
import { renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { Machine } from '../machine.js'
import type { TableResult } from '../results.js'
import { UsageError } from '../usage-error.js'

/** The results for programs, schema `intattn-bench/1`. */
export function formatJson(machine: Machine, tables: readonly TableResult[]): string {
  const results = tables.flatMap((table) => table.results)
  const peers = tables.flatMap((table) => table.peers)
  return `${JSON.stringify({ schema: 'intattn-bench/1', machine, results, peers }, null, 2)}\n`
}

const temporaryName = (path: string) => `${path}.${randomUUID()}.tmp`

function orUsageError(path: string, write: () => void): void {
  try {
    write()
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    throw new UsageError('--json', 'a file in a directory that can be written', `'${path}' (${code})`)
  }
}

/**
 * Finds out whether a file can be written, before the work is done.
 *
 * @throws UsageError
 */
export function checkWritable(path: string): void {
  orUsageError(path, () => {
    const isDirectory = path.endsWith('/') || statSync(path, { throwIfNoEntry: false })?.isDirectory()
    if (isDirectory) throw Object.assign(new Error('a directory'), { code: 'EISDIR' })
    const probe = temporaryName(path)
    writeFileSync(probe, '', { flag: 'wx' })
    rmSync(probe)
  })
}

/**
 * Writes the whole file or nothing.
 *
 * @throws UsageError
 */
export function writeAtomically(path: string, text: string): void {
  orUsageError(path, () => {
    const temporary = temporaryName(path)
    try {
      writeFileSync(temporary, text, { flag: 'wx' })
      renameSync(temporary, path)
    } catch (error) {
      rmSync(temporary, { force: true })
      throw error
    }
  })
}
