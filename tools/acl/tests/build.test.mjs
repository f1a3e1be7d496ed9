import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, expect, test } from 'vitest'
import { digestOf } from '../digest.mjs'
import { isRunning } from '../temporary.mjs'
import { checkout, cpu, locked, programs, target, temporary, upstream, write } from './support/checkout.mjs'

const prefix = `build/compute-library/${target}-${cpu}`
const library = `${prefix}/lib/libarm_compute-static.a`

/** @type {NodeJS.ProcessEnv} */
let env
/** @type {ReturnType<typeof checkout>} */
let repository
beforeEach(async () => {
  const source = upstream()
  repository = checkout(await locked(source))
  env = { ACL_SOURCE: source, PATH: programs(), SCONS_CALLS: path.join(temporary(), 'calls') }
})
const run = (args = [], more = {}) => repository.run(['build', '--target', target, ...args], { ...env, ...more })
const stamp = () => JSON.parse(repository.read(`${prefix}/build.json`))
const calls = () =>
  existsSync(env.SCONS_CALLS ?? '')
    ? readFileSync(env.SCONS_CALLS ?? '', 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    : []

test('build installs library and headers, and says in build.json what it made', async () => {
  const { code, stderr } = await run()
  expect(stderr).toContain(`built ${library} (2 objects)`)
  expect(code).toBe(0)
  expect(stamp()).toMatchObject({
    version: '52.5.0',
    source: { kind: 'directory', locked: true },
    ...{ target, cpu, compiler: 'clang version 19.0.0', command: { cc: 'clang', cxx: 'clang++' } },
    requiredFeatures: expect.arrayContaining(['asimd', 'asimdhp', 'asimddp', 'i8mm', 'bf16']),
    operators: expect.arrayContaining(['Gemm', 'IndexSoftmax', 'Softmax']),
    sha256: digestOf(readFileSync(repository.path(library))),
  })
  expect(JSON.stringify(stamp())).not.toContain(repository.root)
  for (const name of ['include/arm_compute/core/Types.h', 'include/support/Mutex.h', 'include/half/half.hpp'])
    expect(repository.has(`${prefix}/${name}`)).toBe(true)
  expect(repository.has(`${prefix}/LICENSES/MIT.txt`)).toBe(true)
})

test('builds put objects into the archive in one order, without dates', async () => {
  const { code } = await run([], { PYTHONHASHSEED: 'random', ZERO_AR_DATE: '' })
  expect(code).toBe(0)
  const environment = { PYTHONHASHSEED: '0', ZERO_AR_DATE: '1' }
  expect(calls().length).toBeGreaterThan(0)
  for (const { env } of calls()) expect(env).toMatchObject(environment)
  expect(stamp()).toMatchObject({ environment })
})

test('a second build with the same inputs does nothing and says so', async () => {
  await run()
  const before = calls().length
  const { code, stderr } = await run()
  expect(code).toBe(0)
  expect(stderr).toContain(`${prefix} is up to date`)
  expect(calls().length).toBe(before)
})

test.each([
  ['the compiler', { CLANG_VERSION: 'clang version 20.0.0' }, []],
  ['the operators', {}, ['--full']],
  ['the command of the compiler', { CC: 'clang', CXX: 'clang++ -O0' }, []],
])('another answer of %s builds again', async (_, more, args) => {
  await run()
  const { stderr } = await run(args, more)
  expect(stderr).toContain('built ')
  expect(stamp().operators).toEqual(args.length ? 'all' : expect.any(Array))
})

test('a prefix without its headers is built again', async () => {
  await run()
  rmSync(repository.path(`${prefix}/include`), { recursive: true })
  expect((await run()).stderr).toContain('built ')
  expect(repository.has(`${prefix}/include/arm_compute/core/Types.h`)).toBe(true)
})

test.runIf(target === 'linux-arm64')(
  'the tests of --validation come and go without a change of build.json',
  async () => {
    const tests = 'tests/tailored/SConscript'
    const section = `diff --git a/${tests} b/${tests}\nnew file mode 100644\n--- /dev/null\n+++ b/${tests}\n@@ -0,0 +1 @@\n+#\n`
    repository.edit('patches/ComputeLibrary/operator.patch', (text) => text + section)
    const validation = () => run(['--validation'])
    expect((await run()).stderr).toContain('built ')
    const before = stamp()
    expect((await validation()).stderr).toContain('built ')
    expect(repository.has(`${prefix}/bin/arm_compute_validation`)).toBe(true)
    expect(stamp()).toEqual(before)
    for (const again of [run, validation]) expect((await again()).stderr).toContain('is up to date')
    rmSync(repository.path(`${prefix}/bin/arm_compute_validation`))
    expect((await validation()).stderr).toContain('built ')
    repository.edit(`${prefix}/bin/validation.json`, (text) => text.replace(/"key": "./, '"key": "-'))
    expect((await validation()).stderr).toContain('built ')
  },
)

test('a changed series makes the tree anew and keeps the objects for scons to judge', async () => {
  await run()
  repository.write(`${prefix}/tree/build/object.o`, 'object')
  repository.edit('patches/ComputeLibrary/operator.patch', (text) => text.replace('#include', '#  include'))
  const { stderr } = await run()
  expect(stderr).toContain('patching ComputeLibrary 52.5.0')
  expect(stderr).toContain('built ')
  expect(repository.read(`${prefix}/tree/src/operator.cpp`)).toContain('#  include')
  expect(repository.read(`${prefix}/tree/build/object.o`)).toBe('object')
})

test('a tree that was edited is set aside, and what is built is the series', async () => {
  await run()
  repository.write(`${prefix}/tree/src/softmax.cpp`, 'edited\n')
  rmSync(repository.path(`${prefix}/build.json`))
  const { code, stderr } = await run()
  expect(code).toBe(0)
  expect(stderr).toContain('was edited (src/softmax.cpp)')
  expect(repository.read(`${prefix}/tree/src/softmax.cpp`)).not.toContain('edited')
  expect(repository.read(`${prefix}/tree.edited/src/softmax.cpp`)).toBe('edited\n')
  const edited = repository.path(`${prefix}/tree.edited`)
  expect(await repository.run(['refresh', edited, '--into', 'operator.patch'], env)).toMatchObject({ code: 0 })
  expect(repository.read('patches/ComputeLibrary/operator.patch')).toContain('\n+edited\n')
})

test('an edited tree survives a process that ends while it sets it aside', async () => {
  await run()
  repository.write(`${prefix}/tree/src/softmax.cpp`, 'edited\n')
  rmSync(repository.path(`${prefix}/build.json`))
  const preload = path.join(temporary(), 'ends.mjs')
  write(
    preload,
    `import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
const { rename } = fs.promises
let aside = 0
fs.promises.rename = (from, to) => {
  if (to.includes('tree.edited') && ++aside === 2) process.kill(process.pid, 'SIGKILL')
  return rename(from, to)
}
syncBuiltinESMExports()
`,
  )
  expect(await run([], { NODE_OPTIONS: `--import ${preload}` })).toMatchObject({ code: null })
  expect(await run()).toMatchObject({ code: 0 })
  expect(repository.read(`${prefix}/tree.edited/src/softmax.cpp`)).toBe('edited\n')
})

test('a source without the licences is not installed', async () => {
  const source = upstream()
  rmSync(path.join(source, 'LICENSES'), { recursive: true })
  repository = checkout(await locked(source))
  const { code, stderr } = await run([], { ACL_SOURCE: source })
  expect(code).toBe(1)
  expect(stderr).toContain('a library is installed with LICENSES, which this ComputeLibrary does not have')
  expect(repository.has(`${prefix}/build.json`)).toBe(false)
})

test('licences of what ComputeLibrary has from others are installed with its own; KleidiAI needs one', async () => {
  const source = upstream()
  const build = () => run(['--allow-unlocked'], { ACL_SOURCE: source })
  write(path.join(source, 'include/half/LICENSE.txt'), 'half')
  write(path.join(source, 'third_party/kleidiai/LICENSES/BSD-3-Clause.txt'), 'kleidiai')
  write(path.join(source, 'third_party/kleidiai/kai/licence_of.c'), 'code')
  expect(await build()).toMatchObject({ code: 0 })
  const licences = readdirSync(repository.path(`${prefix}/LICENSES`), { recursive: true, withFileTypes: true })
  const names = licences.filter((entry) => entry.isFile()).map(({ name }) => name)
  expect(names.sort()).toEqual(['BSD-3-Clause.txt', 'LICENSE.txt', 'MIT.txt'])
  expect(repository.read(`${prefix}/LICENSES/third_party/kleidiai/LICENSES/BSD-3-Clause.txt`)).toBe('kleidiai')

  rmSync(path.join(source, 'third_party/kleidiai/LICENSES'), { recursive: true })
  const without = await build()
  expect(without.code).toBe(1)
  expect(without.stderr).toContain('a library with third_party/kleidiai is installed with its licence')
  write(path.join(source, 'LICENSES/Apache-2.0.txt'), 'Apache')
  expect(await build()).toMatchObject({ code: 0 })
})

test('a tree without its record, and a damaged library, are made anew', async () => {
  await run()
  rmSync(repository.path(`${prefix}/tree.json`))
  rmSync(repository.path(`${prefix}/tree/src/softmax.cpp`))
  repository.write(library, 'damaged')
  expect(await run()).toMatchObject({ code: 0, stderr: expect.stringContaining('built ') })
  expect(repository.has(`${prefix}/tree/src/softmax.cpp`)).toBe(true)
  expect(stamp().sha256).toBe(digestOf(readFileSync(repository.path(library))))
})

test('scons gets the target, the CPU, and only the operators that the engine uses', async () => {
  await run(['--jobs', '3'])
  const { args, env: seen } = calls().at(-1)
  expect(args).toEqual(expect.arrayContaining(['neon=1', 'opencl=0', 'arch=armv8.6-a', '-j3']))
  const config = JSON.parse(args.find((arg) => arg.startsWith('build_config=')).slice('build_config='.length))
  expect(config).toMatchObject({
    operators: stamp().operators,
    data_types: expect.arrayContaining(['fp16', 'integer']),
  })
  for (const command of [seen.CC, seen.CXX])
    expect(command).toContain(target === 'darwin-arm64' ? '-O3 -mcpu=apple-m2' : '-O3 -march=armv8.6-a+fp16')
  if (process.platform === 'linux' && process.arch !== 'arm64') expect(seen.CXX).toContain('--target=aarch64-linux-gnu')
  await run(['--full'])
  expect(calls().at(-1).args.join(' ')).not.toContain('build_config')
})

const failure = `In file included from src/operator.cpp:1:
src/kernel.h:2:5: error: unknown type name 'foo'
    2 | foo kernel();
      | ^
src/other.cpp:9:1: error: a second one
scons: *** [build/src/operator.o] Error 1
`

test("a failed compile: the compiler's first error, the log's place, nothing installed", async () => {
  const log = path.join(temporary(), 'failure')
  write(log, failure)
  const { code, stderr } = await run([], { SCONS_FAILS: log })
  expect(code).toBe(1)
  expect(stderr).toContain("src/kernel.h:2:5: error: unknown type name 'foo'\n    2 | foo kernel();")
  expect(stderr).toContain('In file included from src/operator.cpp:1')
  expect(stderr).not.toContain('a second one')
  expect(stderr).toContain(`everything it printed: ${prefix}/build.log`)
  expect(repository.read(`${prefix}/build.log`)).toContain('a second one')
  expect(repository.has(library)).toBe(false)
  expect(repository.has(`${prefix}/build.json`)).toBe(false)
  expect(await run()).toMatchObject({ code: 0 })
})

const full = 'LLVM ERROR: IO failure on output stream: No space left on device\nscons: *** [build/src/a.o] Error 1\n'

test.each([
  ['a compiler error', { text: failure }, true],
  ['a full disk', { text: full }, false],
  ['the end of scons by a signal', { SCONS_ENDS_BY: 'SIGKILL' }, false],
])('after %s, objects are kept only when scons knows of which series they are', async (_, { text, ...more }, kept) => {
  const log = path.join(temporary(), 'failure')
  write(log, text ?? '')
  const object = `${prefix}/tree/build/object.o`
  const patch = 'patches/ComputeLibrary/operator.patch'
  const series = repository.read(patch)
  await run()
  repository.write(object, 'object')
  repository.edit(patch, (text) => text.replace('#include', '#  include'))
  expect(await run([], text ? { SCONS_FAILS: log } : more)).toMatchObject({ code: 1 })
  repository.write(patch, series)
  rmSync(repository.path(library))
  expect(await run()).toMatchObject({ code: 0, stderr: expect.stringContaining('built ') })
  expect(repository.has(object)).toBe(kept)
})

test('a disk that is full, while compiling and while copying', async () => {
  const log = path.join(temporary(), 'failure')
  write(log, full)
  const compiling = await run([], { SCONS_FAILS: log })
  expect(compiling.code).toBe(1)
  expect(compiling.stderr).toContain('the disk is full')

  rmSync(repository.path('build'), { recursive: true })
  const preload = path.join(temporary(), 'full.mjs')
  write(
    preload,
    `import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
fs.promises.cp = async (from, to) => {
  fs.mkdirSync(to, { recursive: true })
  fs.writeFileSync(to + '/SConstruct', 'half')
  throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC', dest: to })
}
syncBuiltinESMExports()
`,
  )
  const copying = await run([], { NODE_OPTIONS: `--import ${preload}` })
  expect(copying.code).toBe(1)
  expect(copying.stderr).toMatch(/the disk is full: writing .*tree\.partial-/)
  expect(copying.stderr).not.toContain('    at ')
  expect(readdirSync(repository.path(prefix))).toEqual([])
  expect(await run()).toMatchObject({ code: 0 })
})

test.runIf(process.platform === 'linux')('a file size limit is told as what it is', async () => {
  const limit = path.join(temporary(), 'limit')
  write(limit, '#!/bin/bash\nulimit -f 0\nexec "$@"\n', 0o755)
  const { code, stderr } = await run([], { BEFORE: limit })
  expect(code).toBe(1)
  expect(stderr).toContain('ulimit -f')
  expect(repository.has(`${prefix}/build.json`)).toBe(false)
})

test.each(['SIGTERM', 'SIGKILL'])(
  'a build stopped by %s: the next one does not trust what is there',
  async (signal) => {
    await run()
    repository.edit('patches/ComputeLibrary/operator.patch', (text) => text.replace('#include', '#  include'))
    const hangs = path.join(temporary(), 'pid')
    const { child, ended } = repository.start(['build', '--target', target], { ...env, SCONS_HANGS: hangs })
    for (let i = 0; i < 200 && !existsSync(hangs); i += 1) await sleep(50)
    const closed = once(child, 'exit')
    child.kill(signal)
    await closed
    const scons = Number(readFileSync(hangs, 'utf8'))
    if (signal === 'SIGTERM') {
      expect((await ended).code).toBe(143)
      expect(isRunning(scons)).toBe(false)
    } else {
      const refused = await run()
      expect(refused.code).toBe(1)
      expect(refused.stderr).toContain('is at it')
      process.kill(scons)
      for (let i = 0; i < 100 && isRunning(scons); i += 1) await sleep(50)
    }
    const { code, stderr } = await run()
    expect(code).toBe(0)
    expect(stderr).toContain('built ')
    expect(readFileSync(repository.path(library)).subarray(0, 7).toString()).toBe('!<arch>')
  },
)

test('two builds of one prefix: the second is refused', async () => {
  const hangs = path.join(temporary(), 'pid')
  const { child, ended } = repository.start(['build', '--target', target], { ...env, SCONS_HANGS: hangs })
  for (let i = 0; i < 200 && !existsSync(hangs); i += 1) await sleep(50)
  const { code, stderr } = await run()
  expect(code).toBe(1)
  expect(stderr).toContain(`building in ${prefix}: another process (${child.pid},`)
  child.kill('SIGINT')
  expect((await ended).code).toBe(130)
})

test.runIf(target === 'linux-arm64')('objects for another machine are refused', async () => {
  const { code, stderr } = await run([], { ELF_MACHINE: '62' })
  expect(code).toBe(1)
  expect(stderr).toContain('expected ELF for arm64, received ELF for machine 62')
  expect(repository.has(`${prefix}/build.json`)).toBe(false)
})

test('an operator set that does not link is told, with --full as the remedy', async () => {
  const { code, stderr } = await run([], { CLANG_FAILS: 'arm_compute::NEGEMM::run()' })
  expect(code).toBe(1)
  expect(stderr).toContain('undefined symbol: arm_compute::NEGEMM::run()')
  expect(stderr).toContain('--full builds everything')
})

test('drifted copies are a warning', async () => {
  repository.write('packages/kernels/src/kernel.h', 'int changed();\n')
  const { code, stderr } = await run()
  expect(code).toBe(0)
  expect(stderr).toContain('warning: src/kernel.h is not what packages/kernels/src/kernel.h has')
})

test.each([
  ['scons', ['scons'], 'missing: scons 4'],
  ['the compiler', ['clang++', 'clang'], 'missing: clang++'],
])('without %s: what is missing and how to get it', async (_, without, message) => {
  const { code, stderr } = await run([], { PATH: programs({ only: true, without }) })
  expect(code).toBe(3)
  expect(stderr).toContain(message)
  expect(stderr).toContain('get it: ')
  expect(repository.has(`${prefix}/tree`)).toBe(false)
})

test.runIf(process.platform === 'linux' && process.arch !== 'arm64')(
  'a compiler that makes no programs for the target is refused with what it says',
  async () => {
    const directory = temporary()
    const cxx = path.join(directory, 'g++')
    write(cxx, '#!/bin/sh\ncase "$*" in *--target=*) echo "g++: error: --target" >&2; exit 1 ;; esac\n', 0o755)
    const { code, stderr } = await run([], { CC: cxx, CXX: cxx })
    expect(code).toBe(3)
    expect(stderr).toContain('missing: a compiler with libraries for linux-arm64: g++: error: --target')
    expect(stderr).toContain('get it: apt install clang g++-aarch64-linux-gnu')
  },
)

test('CC without CXX is refused', async () => {
  const { code, stderr } = await run([], { CC: 'clang' })
  expect(code).toBe(3)
  expect(stderr).toContain('CC=clang, but no CXX: set both or none')
})

test.runIf(process.platform === 'linux')('without zig, macOS cannot be built for on Linux', async () => {
  const { code, stderr } = await repository.run(['build', '--target', 'darwin-arm64'], {
    ...env,
    PATH: programs({ only: true }),
  })
  expect(code).toBe(3)
  expect(stderr).toContain('missing: zig')
  expect(stderr).toContain('get it: apt install python3-venv')
})

test.runIf(process.platform === 'linux')(
  'macOS on Linux goes through zig under the names that scons calls',
  async () => {
    const directory = temporary()
    const zig = `#!/bin/sh
[ "$1" = version ] && echo 0.99.0
case "$*" in *apple_m3*) echo "error: unknown CPU: 'apple_m3'" >&2; exit 1 ;; esac
`
    write(path.join(directory, 'zig'), zig, 0o755)
    const build = (cpu) =>
      repository.run(['build', '--target', 'darwin-arm64', '--cpu', cpu], { ...env, PATH: `${directory}:${env.PATH}` })
    const unknown = await build('apple-m3')
    expect(unknown.code).toBe(1)
    expect(unknown.stderr).toContain("--cpu apple-m3: zig 0.99.0 does not know it: error: unknown CPU: 'apple_m3'")
    expect(unknown.stderr).toContain('it knows --cpu apple-m2, --cpu apple-m4, --cpu apple-m1')
    expect(calls()).toEqual([])
    const { code, stderr } = await build('apple-m4')
    expect(stderr).toContain('built ')
    expect(code).toBe(0)
    expect(calls().at(-1)).toMatchObject({
      env: expect.objectContaining({ CXX: 'clang++' }),
      args: expect.arrayContaining(['os=macos', 'arch=armv8.6-a']),
    })
    const wrappers = repository.path('build/compute-library/darwin-arm64-apple-m4/wrappers')
    const seen = path.join(directory, 'seen')
    write(path.join(directory, 'zig'), `#!/bin/sh\necho "$*" >"${seen}"\n`, 0o755)
    // Of what scons says, here and there, nothing may come after the CPU.
    for (const [name, mode, file] of [
      ['clang', 'cc', 'kernel.c'],
      ['clang', 'cc', 'kernel_asm.S'],
      ['clang++', 'c++', 'kernel.cpp'],
    ]) {
      execFileSync(path.join(wrappers, name), ['-march=armv8.6-a+fp16', '-c', file], {
        env: { PATH: `${directory}:${process.env.PATH}` },
      })
      expect(readFileSync(seen, 'utf8')).toMatch(
        new RegExp(`^${mode.replaceAll('+', '\\+')} -target aarch64-macos.11.0 .* -c ${file} -O3 -mcpu=apple_m4\n$`),
      )
    }
  },
)

test.each([
  [['--target', 'win32-x64'], 2, "'win32-x64' is invalid. Allowed choices are linux-arm64, darwin-arm64."],
  [['--cpu', 'cortex-a53'], 2, "'cortex-a53' is invalid. Allowed choices are armv8.6-a, armv8.2-a, apple-m2,"],
  [
    ['--target', 'linux-arm64', '--cpu', 'apple-m2'],
    2,
    'expected one of armv8.6-a, armv8.2-a for linux-arm64, received apple-m2',
  ],
  [['--target', 'darwin-arm64', '--portable'], 2, '--portable: expected --target linux-arm64'],
  [['--target', 'darwin-arm64', '--validation'], 2, '--validation: expected --target linux-arm64'],
  [['--jobs', '0'], 2, 'expected a number of 1 or more'],
  [['--fast'], 2, "unknown option '--fast'"],
])('build %j is refused', async (args, expected, message) => {
  const { code, stderr } = await repository.run(['build', ...args], env)
  expect(code).toBe(expected)
  expect(stderr).toContain(message)
})

test.runIf(process.arch !== 'arm64')('without --target on a machine that is not arm64', async () => {
  const { code, stderr } = await repository.run(['build'], env)
  expect(code).toBe(1)
  expect(stderr).toContain(`ComputeLibrary is for arm64, and this machine is ${process.platform}-${process.arch}`)
  expect(stderr).toContain('--target linux-arm64')
})

test('--validation needs the build file of the series', async () => {
  if (target !== 'linux-arm64') return
  const { code, stderr } = await run(['--validation'])
  expect(code).toBe(1)
  expect(stderr).toContain('--validation: the series has no tests/tailored/SConscript')
})

test('info says what is there; its toolchains do not depend on what was built', async () => {
  const before = await repository.run(['info', '--toolchains'], env)
  await run()
  const after = await repository.run(['info', '--toolchains'], env)
  expect(after.stdout).toBe(before.stdout)
  const facts = JSON.parse((await repository.run(['info'], env)).stdout)
  expect(facts).toMatchObject({
    lock: { version: '52.5.0' },
    series: { patches: ['operator.patch', 'registration.patch'] },
    built: [{ prefix, target, cpu }],
  })
  expect(facts.toolchains[target]).toMatchObject({ compiler: 'clang version 19.0.0' })
})

test('usage errors end with 2, help with 0', async () => {
  expect(await repository.run(['make'])).toMatchObject({ code: 2 })
  expect(await repository.run(['--help'])).toMatchObject({ code: 0 })
  for (const command of ['fetch', 'lock', 'patch', 'refresh', 'verify', 'build', 'info'])
    expect(await repository.run([command, '--help'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(command),
    })
})
