import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { anyObject, fail, integer, oneOf, type Snapshot } from '../checks/checks.js'
import { firstLine } from '../checks/describe.js'
import type { EngineName, LibraryInfo } from '../types.js'
import { isDenied } from './obstacles.js'
import type { System } from './system.js'

/** Engines that are addons. */
export type AddonEngine = Exclude<EngineName, 'reference'>

/** What `addons.json` says of the folder it is in. */
export interface Manifest {
  /** Of this package. */
  version: string
  /** As in `process.platform` and `process.arch`. */
  platform: string
  /** The least that the files run on; absent from what was built where it is. */
  system?: System
  /** Per engine from the most demanding to the least. */
  addons: readonly AddonEntry[]
}

export interface AddonEntry {
  engine: AddonEngine
  /** A name without folders. */
  file: string
  /** Of the file as it was built, in bytes. */
  size: number
  /** Likewise; too much to read at every start, but not for `doctor`. */
  sha256: string
  /** Features that its code uses without asking, as Linux names them. */
  requiredFeatures: readonly string[]
  /** Of engine `acl`. */
  library?: LibraryInfo
}

/** Why a folder's manifest is of no use. */
export interface ManifestProblem {
  cause: 'absent' | 'unreadable' | 'malformed' | 'version'
  reason: string
}

export const manifestPath = (folder: string): string => join(folder, 'addons.json')

/** The manifest of a folder of addons, if it is of this very version. Never throws. */
export function readManifest(folder: string, version: string): Manifest | ManifestProblem {
  try {
    const content: unknown = JSON.parse(readFileSync(manifestPath(folder), 'utf8'))
    const fields = anyObject(content, 'content') as Snapshot
    const found = text(fields.version, 'version', word)
    if (found !== version) return { cause: 'version', reason: `of version ${found}, and this package is ${version}` }
    return manifestOf(fields, version)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return { cause: 'absent', reason: 'no such file' }
    return { cause: isDenied(error) ? 'unreadable' : 'malformed', reason: firstLine(error) }
  }
}

function manifestOf({ system, addons, ...others }: Snapshot, version: string): Manifest {
  const platform = text(others.platform, 'platform', /^\w+-\w+$/)
  return {
    version,
    platform,
    ...(system !== undefined && { system: systemOf(system) }),
    addons: list(addons, 'addons').map((addon, i) => entryOf(addon, `addons[${i}]`, platform)),
  }
}

function systemOf(value: unknown): System {
  const { name, version } = anyObject(value, 'system') as Snapshot
  return {
    name: oneOf(name, 'system.name', ['glibc', 'macOS']),
    version: text(version, 'system.version', /^\d+(\.\d+)*$/),
  }
}

function entryOf(value: unknown, argument: string, target: string): AddonEntry {
  const fields = anyObject(value, argument) as Snapshot
  const engine = oneOf(fields.engine, `${argument}.engine`, ['native', 'acl'])
  const file = text(fields.file, `${argument}.file`, /^\w[\w.+-]*\.node$/)
  const requiredFeatures = list(fields.requiredFeatures, `${argument}.requiredFeatures`).map((feature, i) =>
    text(feature, `${argument}.requiredFeatures[${i}]`, word),
  )
  const size = integer(fields.size, `${argument}.size`, 1, Number.MAX_SAFE_INTEGER)
  const sha256 = text(fields.sha256, `${argument}.sha256`, /^[0-9a-f]{64}$/)
  const entry = { engine, file, size, sha256, requiredFeatures }
  if (engine === 'native') return entry
  const version = text(fields.computeLibrary, `${argument}.computeLibrary`, word)
  const cpu = text(fields.cpu, `${argument}.cpu`, word)
  const compiler = text(fields.compiler, `${argument}.compiler`, line)
  const { unlocked } = fields
  if (unlocked !== undefined && unlocked !== true) {
    fail('INVALID_ARGUMENT', `${argument}.unlocked`, 'true, or nothing', unlocked)
  }
  const library = {
    version,
    target,
    cpu,
    compiler,
    requires: requiredFeatures,
    ...(unlocked === true && { unlocked: true as const }),
  }
  return { ...entry, library }
}

const word = /^[\w.+-]+$/
const line = /^\w[ -~]*$/

function list(value: unknown, argument: string): readonly unknown[] {
  return Array.isArray(value) ? value : fail('INVALID_ARGUMENT', argument, 'a list', value)
}

/** A string that goes into messages and paths as it is. */
function text(value: unknown, argument: string, pattern: RegExp): string {
  if (typeof value === 'string' && pattern.test(value)) return value
  return fail('INVALID_ARGUMENT', argument, `a string that matches ${pattern.source}`, value)
}
