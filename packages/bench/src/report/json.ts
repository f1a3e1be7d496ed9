import { randomUUID } from 'node:crypto'
import {
  accessSync,
  constants,
  lstatSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { CallOverhead } from '../call-overhead.js'
import type { Machine } from '../machine.js'
import type { TableResult } from '../results.js'
import { UsageError } from '../usage-error.js'

/** The results for programs, schema `intattn-bench/1`. */
export function formatJson(machine: Machine, callOverheadUs: CallOverhead, tables: readonly TableResult[]): string {
  const results = tables.flatMap((table) => table.results)
  const peers = tables.flatMap((table) => table.peers)
  return `${JSON.stringify({ schema: 'intattn-bench/1', machine, callOverheadUs, results, peers }, null, 2)}\n`
}

const temporaryName = (path: string) => `${path}.${randomUUID()}.tmp`

/**
 * The file that `path` stands for, symbolic links followed, if it can be replaced as a whole: a regular file or none yet.
 * undefined for what has to be written in place: pipes, devices.
 */
function replaceable(path: string): string | undefined {
  const target = statSync(path, { throwIfNoEntry: false })
  if (target?.isDirectory() || path.endsWith('/')) throw Object.assign(new Error('a directory'), { code: 'EISDIR' })
  if (target) return target.isFile() ? realpathSync(path) : undefined
  // Nothing there, or a link to nothing.
  if (!lstatSync(path, { throwIfNoEntry: false })) return path
  return replaceable(resolve(realpathSync(dirname(path)), readlinkSync(path)))
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? 'unknown error'

/**
 * Finds out whether a file can be written, before the work is done.
 *
 * @throws UsageError
 */
export function checkWritable(path: string): void {
  try {
    const file = replaceable(path)
    if (file === undefined) {
      accessSync(path, constants.W_OK)
      return
    }
    const probe = temporaryName(file)
    writeFileSync(probe, '', { flag: 'wx' })
    rmSync(probe)
  } catch (error) {
    throw new UsageError('--json', 'a file in a directory that can be written', `'${path}' (${codeOf(error)})`)
  }
}

/** Writes the whole file or nothing; pipes and devices are written in place. */
export function writeWhole(path: string, text: string): void {
  try {
    const file = replaceable(path)
    if (file === undefined) {
      writeFileSync(path, text, { flag: 'a' })
      return
    }
    const temporary = temporaryName(file)
    try {
      writeFileSync(temporary, text, { flag: 'wx' })
      renameSync(temporary, file)
    } catch (error) {
      rmSync(temporary, { force: true })
      throw error
    }
  } catch (error) {
    throw new Error(`cannot write '${path}' (${codeOf(error)})`, { cause: error })
  }
}
