import { existsSync } from 'node:fs'
import path from 'node:path'
import { expect, test, vi } from 'vitest'
import { temporary, write } from './support/checkout.mjs'
import { mac } from './support/mac.mjs'

// Each starts dozens of programs.
vi.setConfig({ testTimeout: 300_000 })

const linked = 'packages/acl/build/compute-libraries.json'
const failure = "src/operator.cpp:1:1: error: unknown type name 'foo'\nscons: *** [build/src/operator.o] Error 1\n"

/** @param {string} text that scons fails with */
function failing(text) {
  const file = path.join(temporary(), 'failure')
  write(file, text)
  return { SCONS_FAILS: file }
}

test("ComputeLibrary is built by Apple's compilers for what the CPU has", async () => {
  const here = await mac()
  const { exitCode, stderr } = await here.tool('native/compute-library.mjs', [], { CHIP: 'Apple M5 Max', LACKS: '' })
  expect(stderr).toContain('built build/compute-library/darwin-arm64-apple-m4/lib/libarm_compute-static.a')
  expect(exitCode).toBe(0)
  expect(JSON.parse(here.read(linked))).toMatchObject([{ cpu: 'apple-m4' }])
  const { args, env } = here.calls().at(-1)
  expect(args).toContain('os=macos')
  expect(env).toMatchObject({
    CC: 'xcrun clang -mmacosx-version-min=11.0 -O3 -mcpu=apple-m4',
    CXX: 'xcrun clang++ -mmacosx-version-min=11.0 -O3 -mcpu=apple-m4',
  })
  expect(JSON.parse(here.read('build/compute-library/darwin-arm64-apple-m4/build.json'))).toMatchObject({
    compiler: 'Apple clang version 17.0.0',
  })
})

test.each([
  ['fetched', { ACL_SOURCE: '/nowhere' }, 'build/compute-library/fetch.log'],
  ['built', failing(failure), 'build/compute-library/darwin-arm64-apple-m2/build.log'],
])('a ComputeLibrary that cannot be %s is left out, and the place of the log told', async (_, env, log) => {
  const here = await mac()
  const { exitCode, stdout } = await here.tool('native/compute-library.mjs', [], env)
  expect(stdout).toMatch(/^!+\nSKIPPED ComputeLibrary for darwin-arm64: engine acl is left out\n/)
  expect(stdout).toContain(log)
  expect(exitCode).toBe(0)
  expect(here.has(log)).toBe(true)
  expect(JSON.parse(here.read(linked))).toEqual([])
})

test.each([
  ['by target', ['--target', 'darwin-arm64'], {}],
  ['by CPU', ['--cpu', 'apple-m1'], {}],
  ['in CI', [], { CI: 'true' }],
])('a ComputeLibrary that is wanted %s is not left out', async (_, args, env) => {
  const wanted = await (await mac()).tool('native/compute-library.mjs', args, { ACL_SOURCE: '/nowhere', ...env })
  expect(wanted).toMatchObject({ exitCode: 1, stdout: '' })
  expect(wanted.stderr).toContain('build/compute-library/fetch.log')
})

test('a patch that does not apply leaves ComputeLibrary out', async () => {
  const here = await mac()
  here.edit('patches/ComputeLibrary/registration.patch', (text) => text.replace(' "Cast": {},', ' "Other": {},'))
  const { exitCode, stdout, stderr } = await here.tool('native/compute-library.mjs')
  expect(stderr).toContain('registration.patch')
  expect(stdout).toContain('compute-library:darwin-arm64-apple-m2 failed, as said above\n')
  expect(exitCode).toBe(0)
})

test('whoever interrupts ComputeLibrary does not get a build without it', async () => {
  const here = await mac()
  write(path.join(here.programs, 'npx'), '#!/bin/sh\nexit 130\n', 0o755)
  const { exitCode, stdout, stderr } = await here.tool('native/compute-library.mjs')
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' })
  expect(stderr).toContain('interrupted')
})

test('ComputeLibrary is compiled for the features of the CPU, not for its name', async () => {
  const here = await mac()
  const machines = [
    { CHIP: 'Apple M1', LACKS: 'BF16' },
    { CHIP: 'Apple M2 Pro', LACKS: 'SME' },
    { CHIP: 'Apple M3', LACKS: 'SME' },
    { CHIP: 'Apple M17', LACKS: '' },
    { CHIP: 'Apple M4', LACKS: '', UNKNOWN_CPU: 'apple-m4' },
    { CHIP: 'a system that names no features', SILENT: 'yes' },
  ]
  const cpus = await here.value(
    'native/targets.mjs',
    `(async () => {
      const found = []
      for (const machine of ${JSON.stringify(machines)}) {
        Object.assign(process.env, machine)
        found.push((await m.buildFor({})).cpus[0])
      }
      return found
    })()`,
  )
  expect(cpus).toEqual(['apple-m1', 'apple-m2', 'apple-m3', 'apple-m4', 'apple-m3', 'apple-m1'])
})

test("CMake gets Apple's compilers with their SDK, or what CXX names", async () => {
  const here = await mac()
  const environment = (env) => here.value('native/cmake-environment.mjs', 'm.cmakeEnvironment()', env)
  const apple = await environment()
  expect(apple).toMatchObject({ CXX: `${here.developer}/clang++`, CC: `${here.developer}/clang` })
  expect(apple).toMatchObject({ SDKROOT: '/SDKs/MacOSX.sdk' })
  const named = await environment({ CXX: 'clang++' })
  expect(named).toMatchObject({ CXX: 'clang++' })
  expect(named).not.toHaveProperty('SDKROOT')
  expect(await here.value('native/preflight.mjs', 'm.describeTools()')).toContain('Apple clang version 17.0.0')
  expect(await here.value('native/preflight.mjs', 'm.describeTools()', { CXX: 'clang++' })).toContain(
    'Homebrew clang version 21.0.0',
  )
})

test('a command in CXX is a compiler behind a launcher', async () => {
  const here = await mac()
  const env = { CXX: 'ccache clang++ -O1' }
  expect(await here.value('native/cmake-environment.mjs', 'm.cmakeEnvironment()', env)).toMatchObject({
    CXX: 'clang++ -O1',
    CMAKE_CXX_COMPILER_LAUNCHER: 'ccache',
  })
  expect(await here.value('native/preflight.mjs', 'm.describeTools()', env)).toContain('Homebrew clang version 21.0.0')
  const { exitCode } = await here.tool('acl/main.mjs', ['build', '--cpu', 'apple-m1'], env)
  expect(exitCode).toBe(0)
  expect(here.calls().at(-1).env).toMatchObject({
    CC: 'ccache clang -O1 -mmacosx-version-min=11.0 -O3 -mcpu=apple-m1',
    CXX: 'ccache clang++ -O1 -mmacosx-version-min=11.0 -O3 -mcpu=apple-m1',
  })
})

test('CMake and ninja are installed before the source is fetched', async () => {
  const here = await mac(['cmake', 'make'])
  const before = await here.tool('native/toolchain.mjs')
  expect(before.stdout).toMatch(/^darwin arm64 cmake version \d+\.\d+\.\d+ Apple clang/)
  const offline = await here.tool('native/compute-library.mjs', [], { PIP_FAILS: 'no network' })
  expect(offline.exitCode).toBe(1)
  expect(offline.stderr).toMatch(/missing: CMake 3\.18 or newer\n {2}get it: .*\nmissing: make or ninja\n/)
  expect(offline.stderr).toContain('cmake could not be installed\nERROR: no network')
  expect(here.has('build/compute-library')).toBe(false)

  const first = await here.tool('native/compute-library.mjs', [], { ACL_SOURCE: '/nowhere' })
  expect(first.exitCode).toBe(0)
  expect(first.stderr).toMatch(/^installing cmake .*\ninstalling ninja .*\/nowhere/s)
  expect(await here.tool('native/preflight.mjs')).toMatchObject({ exitCode: 0, stderr: '' })
  expect((await here.tool('native/toolchain.mjs')).stdout).toBe(before.stdout)
  const { PATH, CMAKE_GENERATOR } = await here.value('native/cmake-environment.mjs', 'm.cmakeEnvironment()')
  expect(CMAKE_GENERATOR).toBe('Ninja')
  for (const name of ['cmake', 'ninja'])
    expect(PATH.split(path.delimiter).some((folder) => existsSync(path.join(folder, name)))).toBe(true)
})

test('a CMake that is too old is replaced, or named', async () => {
  const here = await mac()
  write(path.join(here.programs, 'cmake'), '#!/bin/sh\necho "cmake version 3.9.6"\n', 0o755)
  const { exitCode, stderr } = await here.tool('native/preflight.mjs', [], { PIP_FAILS: 'no network' })
  expect(exitCode).toBe(1)
  expect(stderr).toContain('too old: cmake version 3.9.6; CMake 3.18 or newer is needed')
  expect(await here.tool('native/preflight.mjs')).toMatchObject({
    exitCode: 0,
    stderr: expect.stringMatching(/^installing cmake \S+ in build\/python\n$/),
  })
})

test("without Apple's tools the compiler is missing, whatever the PATH has", async () => {
  const { exitCode, stderr } = await (await mac(['xcrun'])).tool('native/preflight.mjs')
  expect(stderr).toContain('missing: a C++17 compiler')
  expect(stderr).toContain('get it: xcode-select --install')
  expect(exitCode).toBe(1)
})
