import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Attention, availableResources } from '../src/index.js'
import { groupLimits } from '../src/resources/cgroups.js'
import { compiledApi } from './support/compile.js'
import { describeUnlessEmulated } from './support/emulation.js'

const none = { processors: Number.POSITIVE_INFINITY, memoryBytes: Number.POSITIVE_INFINITY }
const mib = 2 ** 20

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'intattn-cgroups-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Files of a system, by their paths. */
type Files = Record<string, string>

function limitsOf(files: Files): ReturnType<typeof groupLimits> {
  const root = mkdtempSync(join(folder, 'root-'))
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), `${content}\n`)
  }
  return groupLimits(root)
}

const mounts = (...lines: string[]): string => ['22 27 0:20 / /sys rw shared:7 - sysfs sysfs rw', ...lines].join('\n')
const version2 = mounts('35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate')
const version1 = mounts(
  '33 32 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct',
  '34 32 0:29 / /sys/fs/cgroup/memory rw shared:12 - cgroup cgroup rw,memory',
)

describe('control groups limit', () => {
  test.each<[string, Files, Partial<typeof none>]>([
    ['nothing where there are none', {}, {}],
    [
      'nothing where version 2 says so',
      {
        'proc/self/cgroup': '0::/app',
        'proc/self/mountinfo': version2,
        'sys/fs/cgroup/app/cpu.max': 'max 100000',
        'sys/fs/cgroup/app/memory.max': 'max',
      },
      {},
    ],
    [
      'a container of version 2, which is its own root',
      {
        'proc/self/cgroup': '0::/',
        'proc/self/mountinfo': version2,
        'sys/fs/cgroup/cpu.max': '150000 100000',
        'sys/fs/cgroup/memory.max': `${512 * mib}`,
      },
      { processors: 1.5, memoryBytes: 512 * mib },
    ],
    [
      'a service by the least of its group and those around it',
      {
        'proc/self/cgroup': '0::/work.slice/all.slice/one.service',
        'proc/self/mountinfo': version2,
        'sys/fs/cgroup/work.slice/cpu.max': '50000 25000',
        'sys/fs/cgroup/work.slice/all.slice/cpu.max': '400000 100000',
        'sys/fs/cgroup/work.slice/all.slice/memory.max': `${100 * mib}`,
        'sys/fs/cgroup/work.slice/all.slice/one.service/cpu.max': 'max 100000',
        'sys/fs/cgroup/work.slice/all.slice/one.service/memory.max': `${200 * mib}`,
        'sys/fs/cgroup/other.slice/cpu.max': '1000 100000',
        'sys/fs/cgroup/other.slice/memory.max': '1',
      },
      { processors: 2, memoryBytes: 100 * mib },
    ],
    [
      'a process of version 1',
      {
        'proc/self/cgroup': '5:memory:/a/b\n4:cpu,cpuacct:/a\n1:name=systemd:/x:y',
        'proc/self/mountinfo': version1,
        'sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us': '75000',
        'sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us': '50000',
        'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1',
        'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000',
        'sys/fs/cgroup/memory/a/b/memory.limit_in_bytes': '9223372036854771712',
        'sys/fs/cgroup/memory/a/memory.limit_in_bytes': `${64 * mib}`,
      },
      { processors: 1.5, memoryBytes: 64 * mib },
    ],
    [
      'a container of version 1 that sees its own group in the place of the root',
      {
        'proc/self/cgroup': '4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc/inner\n0::/',
        'proc/self/mountinfo': mounts(
          '33 32 0:28 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct',
          '34 32 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory',
        ),
        'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '300000',
        'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000',
        'sys/fs/cgroup/memory/memory.limit_in_bytes': `${32 * mib}`,
      },
      { processors: 3, memoryBytes: 32 * mib },
    ],
    [
      'by both versions at once',
      {
        'proc/self/cgroup': '1:cpu:/a\n0::/b',
        'proc/self/mountinfo': mounts(
          '32 31 0:29 / /cgroups/cpu rw - cgroup cgroup rw,cpu',
          '41 31 0:38 / /cgroups/all\\040the\\040rest rw - cgroup2 cgroup2 rw',
        ),
        'cgroups/cpu/a/cpu.cfs_quota_us': '20000',
        'cgroups/cpu/a/cpu.cfs_period_us': '100000',
        'cgroups/all the rest/b/memory.max': `${8 * mib}`,
      },
      { processors: 0.2, memoryBytes: 8 * mib },
    ],
    [
      'nothing by groups of others, where a mount shows nothing else',
      {
        'proc/self/cgroup': '0::/mine',
        'proc/self/mountinfo': mounts('35 24 0:30 /mine-not /elsewhere rw - cgroup2 cgroup2 rw'),
        'elsewhere/memory.max': '1',
      },
      {},
    ],
    [
      'nothing by the groups of those around a namespace that the process has left',
      {
        'proc/self/cgroup': '0::/../sibling',
        'proc/self/mountinfo': version2,
        'sys/fs/cgroup/memory.max': '1',
        'sys/fs/sibling/memory.max': '1',
      },
      {},
    ],
    [
      'nothing where the files make no sense',
      {
        'proc/self/cgroup': 'what\n0::/a\n:::',
        'proc/self/mountinfo': `\n-\n - cgroup\n${version2}`,
        'sys/fs/cgroup/a/cpu.max': '100000 0',
        'sys/fs/cgroup/a/memory.max': 'a lot',
        'sys/fs/cgroup/cpu.max': '',
      },
      {},
    ],
  ])('%s', (_, files, expected) => {
    expect(limitsOf(files)).toEqual({ ...none, ...expected })
  })
})

/** What a program prints, as JSON. */
function run(code: string, command: string, ...before: string[]): unknown {
  const program = `import { Attention, availableResources } from ${JSON.stringify(compiledApi.href)}
    const threads = (options) => new Attention({ heads: 1, headDim: 8, engine: 'reference', ...options }).options.threads
    console.log(JSON.stringify(${code}))`
  const { stdout, stderr } = spawnSync(command, [...before, '--input-type=module', '--eval', program], {
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  return JSON.parse(stdout)
}

describeUnlessEmulated('a process', () => {
  test('has no more than the machine, and all of it as threads', () => {
    const { threads, memoryBytes } = availableResources()
    expect(threads).toBeGreaterThanOrEqual(1)
    expect(threads).toBeLessThanOrEqual(availableParallelism())
    expect(memoryBytes).toBeGreaterThan(0)
    expect(memoryBytes).toBeLessThanOrEqual(totalmem())
    expect(new Attention({ heads: 1, headDim: 8, engine: 'reference' }).options.threads).toBe(Math.min(threads, 256))
  })

  test.each([
    ['50000 100000', 1],
    ['250000 100000', 3],
  ])(
    'in a container with the quota %j has %i threads of 6 by default, and as many as it asks for',
    (quota, expected) => {
      const container = join(folder, 'container.cjs')
      writeFileSync(
        container,
        `const files = {
        '/proc/self/cgroup': '0::/',
        '/proc/self/mountinfo': '30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup rw',
        '/sys/fs/cgroup/cpu.max': '${quota}',
        '/sys/fs/cgroup/memory.max': '${mib}',
      }
      const fs = require('node:fs')
      const { readFileSync } = fs
      fs.readFileSync = (path, ...others) => files[path] ?? readFileSync(path, ...others)
      require('node:os').availableParallelism = () => 6
      require('node:module').syncBuiltinESMExports()`,
      )
      const code = '[threads(), threads({ threads: 7 }), availableResources()]'
      expect(run(code, process.execPath, '--require', container)).toEqual([
        expected,
        7,
        { threads: expected, memoryBytes: mib },
      ])
    },
  )

  const taskset = process.platform === 'linux' ? spawnSync('taskset', ['--version']).status === 0 : false
  const why = taskset ? '' : ' (not run here: no taskset, which Linux has)'
  test.skipIf(!taskset)(`confined to one processor has one thread${why}`, () => {
    const [, first = ''] = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
    expect(run('[threads(), availableResources().threads]', 'taskset', '-c', first, process.execPath)).toEqual([1, 1])
  })
})
