import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What control groups (cgroups) of Linux let a process have; infinite: no limit. */
export interface GroupLimits {
  /** Time on processors, in processors. */
  processors: number
  memoryBytes: number
}

/**
 * The least that the process's groups and the groups around them allow, of both versions of cgroups. What cannot be read sets no limit.
 *
 * Node.js has a part of this: `process.constrainedMemory()` knows the innermost group only, and nothing where both versions are mounted;
 * `os.availableParallelism()` knows affinity, but quotas only in later versions than Node.js 20.
 *
 * @param root of the files of the system
 */
export function groupLimits(root = '/'): GroupLimits {
  const limits = { processors: Number.POSITIVE_INFINITY, memoryBytes: Number.POSITIVE_INFINITY }
  const groups = groupsOf(root)
  for (const mount of mountsOf(root)) {
    for (const folder of foldersOf(mount, groups)) {
      const number = (file: string) => numbersIn(join(root, folder, file))[0]
      const [quota, period] = numbersIn(join(root, folder, 'cpu.max'))
      const processors = [quotient(quota, period), quotient(number('cpu.cfs_quota_us'), number('cpu.cfs_period_us'))]
      const memory = [number('memory.max'), number('memory.limit_in_bytes')]
      limits.processors = least(limits.processors, ...processors)
      limits.memoryBytes = least(limits.memoryBytes, ...memory)
    }
  }
  return limits
}

interface Mount {
  /** The group that is seen at `point`. */
  group: string
  point: string
  /** Of the hierarchy; version 2 has the empty name. */
  controllers: readonly string[]
}

function mountsOf(root: string): Mount[] {
  const mounts: Mount[] = []
  for (const line of linesIn(join(root, 'proc/self/mountinfo'))) {
    const [place = '', device = ''] = line.split(' - ')
    const [, , , group = '', point = ''] = place.split(' ').map(unescaped)
    const [type, , options = ''] = device.split(' ')
    if (type === 'cgroup2') mounts.push({ group, point, controllers: [''] })
    if (type === 'cgroup') mounts.push({ group, point, controllers: options.split(',') })
  }
  return mounts
}

/** Spaces and line breaks are written as octal numbers. */
const unescaped = (field: string): string =>
  field.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)))

/** The process's group by controller; version 2 has the empty name. */
function groupsOf(root: string): Map<string, string> {
  const groups = new Map<string, string>()
  for (const line of linesIn(join(root, 'proc/self/cgroup'))) {
    const [, controllers = '', group = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    for (const name of controllers.split(',')) groups.set(name, group)
  }
  return groups
}

/** From the process's group to the outermost that can be seen; none where the mount shows other groups. */
function foldersOf({ group: shown, point, controllers }: Mount, groups: Map<string, string>): string[] {
  const controller = controllers.find((name) => groups.has(name))
  const group = controller === undefined ? undefined : groups.get(controller)!
  const above = shown === '/' ? '' : shown
  if (group === undefined || (group !== shown && !group.startsWith(`${above}/`))) return []
  const names = group.slice(above.length).split('/').filter(Boolean)
  if (names.includes('..')) return []
  return Array.from({ length: names.length + 1 }, (_, i) => join(point, ...names.slice(0, names.length - i)))
}

function linesIn(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').trim().split('\n')
  } catch {
    return []
  }
}

/** `max` and -1, which set no limit, are none. */
const numbersIn = (file: string): (number | undefined)[] =>
  (linesIn(file)[0] ?? '').split(' ').map((word) => (/^\d+$/.test(word) ? Number(word) : undefined))

const quotient = (quota?: number, period?: number): number | undefined =>
  quota !== undefined && period ? quota / period : undefined

const least = (...limits: (number | undefined)[]): number => Math.min(...limits.filter((limit) => limit !== undefined))
