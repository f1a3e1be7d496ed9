import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { availableResources, type EngineInfo, engines } from '@intattn/acl'
import { version } from './cli.js'

/** Where the numbers come from. */
export interface Machine {
  cpu: string
  cores: number
  /** How many threads this process may run at once: the default of `--threads`. */
  availableThreads: number
  /** That this process may use. */
  memoryGiB: number
  os: string
  arch: string
  /** Frequency governor (Linux) or low power mode (macOS), where the system tells. */
  power: string | null
  /** Average number of running processes over the last minute, before the benchmark started. */
  load: number
  node: string
  version: string
  /** Of the intattn checkout, with `-dirty` when files differ from it. */
  commit: string | null
  engines: EngineInfo[]
}

function attempt<T>(read: () => T): T | null {
  try {
    return read()
  } catch {
    return null
  }
}

function firstLine(path: string): string | null {
  return attempt(() => (readFileSync(path, 'utf8').split(/[\0\n]/, 1)[0] ?? '').trim() || null)
}

function output(command: string, ...args: string[]): string | null {
  const cwd = fileURLToPath(new URL('..', import.meta.url))
  return attempt(() =>
    execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim(),
  )
}

/** Arm Linux does not tell Node the model; its device tree names the board. */
function cpuName(): string {
  const model = os.cpus()[0]?.model.trim()
  if (model && model !== 'unknown') return model
  return firstLine('/proc/device-tree/model') ?? 'unknown'
}

function powerMode(): string | null {
  if (process.platform === 'linux') {
    const governor = firstLine('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor')
    return governor && `governor ${governor}`
  }
  if (process.platform === 'darwin') {
    const [, low] = /lowpowermode\s+(\d)/.exec(output('pmset', '-g') ?? '') ?? []
    return low === undefined ? null : `low power mode ${low === '0' ? 'off' : 'on'}`
  }
  return null
}

/** Of the checkout of this repository, if it is one: installed elsewhere, the package lies in a foreign one. */
function commit(): string | null {
  const root = output('git', 'rev-parse', '--show-toplevel')
  const name = root && attempt(() => JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).name)
  return name === 'intattn' ? output('git', 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*') : null
}

/** Looks at this machine. */
export function describeMachine(): Machine {
  const { threads, memoryBytes } = availableResources()
  return {
    cpu: cpuName(),
    cores: os.cpus().length,
    availableThreads: threads,
    memoryGiB: Math.round(memoryBytes / 2 ** 30),
    os: `${os.type()} ${os.release()}`,
    arch: process.arch,
    power: powerMode(),
    load: Math.round((os.loadavg()[0] ?? 0) * 100) / 100,
    node: process.version,
    version,
    commit: commit(),
    engines: engines(),
  }
}
