import { spawn } from 'node:child_process'
import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { $ } from 'zx/core'
import { findProgram } from '../../native/preflight.mjs'
import { variants } from '../preflight.mjs'
import { programs, temporary, write } from './support/checkout.mjs'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** @type {import('node:child_process').ChildProcess[]} */
const started = []
afterEach(() => {
  for (const child of started.splice(0)) child.kill()
})

/** A process with Nx's command line. @param {string[]} words */
function nx(words) {
  const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)', 'nx', ...words], { stdio: 'ignore' })
  started.push(child)
  return child.pid
}

/** @param {string} script @param {string[]} args @param {NodeJS.ProcessEnv} env @param {string} [cwd] */
const run = (script, args, env, cwd = root) => {
  const { CI, CC, CXX, ...clean } = process.env
  const options = { nothrow: true, quiet: true, cwd, env: { ...clean, ...env } }
  return $(options)`${process.execPath} ${path.join(root, 'tools', script)} ${args}`
}

const build = (pid) => run('native/build.mjs', [], { NX_INVOCATION_ROOT_PID: `${pid}` })

test.each([
  [['run', 'acl:build', '--target', 'plan9-arm64']],
  [['run', 'acl:build', '--verbose', `--x=${'x'.repeat(300)}`, '--target=plan9-arm64']],
])('acl:build has its target from the command line of Nx', async (words) => {
  const { exitCode, stderr } = await build(nx(words))
  expect(stderr).toContain("--target: expected darwin-arm64 or linux-arm64, received 'plan9-arm64'")
  expect(exitCode).toBe(1)
})

test.each([[['run-many', '--target=build']], [['--project', 'bench', '--target', 'build']], [['run', 'acl:build']]])(
  'acl:build takes no name of a task for a target: nx %j',
  async (words) => {
    expect(await build(nx(words))).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
  },
)

test('acl:build does not go on without the command line of Nx', async () => {
  const { exitCode, stderr } = await build(2 ** 22 + 1)
  expect(stderr).toContain('neither /proc nor ps has process 4194305')
  expect(exitCode).toBe(1)
})

test.runIf(process.platform === 'linux')('a ComputeLibrary that cannot be built is not linked either', async () => {
  const directory = temporary()
  symlinkSync(path.join(root, 'tools'), path.join(directory, 'tools'))
  const linked = path.join(directory, 'packages/acl/build/linux-arm64-armv8.6-a/compute-libraries.json')
  write(linked, '[{ "cpu": "armv8.6-a", "prefix": "of another series" }]')
  const env = { PATH: programs({ only: true, without: ['clang', 'clang++'] }) }
  const { exitCode, stdout } = await run(
    'native/compute-library.mjs',
    ['--target', 'linux-arm64', '--optional'],
    env,
    directory,
  )
  expect(stdout).toContain('SKIPPED ComputeLibrary for linux-arm64: engine acl is left out')
  expect(exitCode).toBe(0)
  expect(JSON.parse(readFileSync(linked, 'utf8'))).toEqual([])
})

/** @param {string[]} names of clang++ @param {string} [says] against what it is to link */
function clangs(names, says) {
  const directory = programs({ only: true, without: ['clang', 'clang++'] })
  const makes = says ? `echo "${says}" >&2; exit 1` : 'exit 0'
  for (const name of names)
    write(
      path.join(directory, name),
      `#!/bin/sh\n[ "$1" = --version ] && echo "clang version 20.1.0" && exit\n${makes}\n`,
      0o755,
    )
  return { PATH: directory }
}

test('a clang++ by the name of its version only is found', async () => {
  const { stdout } = await run('qemu/toolchain.mjs', [], clangs(['clang++-20']))
  expect(stdout).toContain('clang 20.1.0')
  expect((await run('native/toolchain.mjs', [], clangs(['clang++-20']))).stdout).toContain('clang version 20.1.0')
})

test('a clang++ without lld is named with what it says', async () => {
  const says = "clang++: error: invalid linker name in argument '-fuse-ld=lld'"
  const { stdout } = await run('qemu/toolchain.mjs', [], clangs(['clang++'], says))
  expect(stdout).toContain(`missing: clang++, as a compiler for arm64 with lld and libraries (${says})`)
  expect(stdout).toContain('get it: apt install clang-19 lld-19')
})

const kernels = path.join(root, 'packages/kernels')
const machO = {
  clang: (await findProgram(['clang++-19', ...variants('clang++')]))?.program,
  nm: (await findProgram(process.platform === 'darwin' ? ['nm'] : ['llvm-nm-19', ...variants('llvm-nm')]))?.program,
}
const canMakeMachO = Boolean(machO.clang && machO.nm)

test('a compiler for Mach-O is here', ({ skip }) => {
  if (!canMakeMachO && !process.env.CI) skip('missing: clang++ and llvm-nm (apt install clang-19 llvm-19)')
  expect(canMakeMachO).toBe(true)
})

test.runIf(canMakeMachO)('weak symbols of Mach-O objects are seen', async () => {
  const directory = temporary()
  const own = readFileSync(path.join(kernels, 'tests/shared_code.cc'), 'utf8').replace('inline int', 'static int')
  write(path.join(directory, 'own.cc'), own)
  /** @param {string} source @param {string} [target] */
  const check = async (source, target = 'arm64-apple-macos11') => {
    const object = path.join(directory, `${path.basename(source)}.o`)
    const flags = ['-std=c++17', '-O2', '-fvisibility=hidden', `--target=${target}`]
    await $({ quiet: true })`${machO.clang} ${flags} -c ${source} -o ${object}`
    const definitions = [`-DNM=${machO.nm}`, `-DOBJECTS=${object}`, `-DSOURCES=${path.basename(source)}`]
    const script = path.join(kernels, 'tests/no_shared_code.cmake')
    return $({ quiet: true, nothrow: true })`cmake ${definitions} -P ${script}`
  }
  expect((await check(path.join(directory, 'own.cc'))).text()).toContain('nothing shared')
  const { exitCode, stderr } = await check(path.join(kernels, 'tests/shared_code.cc'))
  expect(exitCode).not.toBe(0)
  expect(stderr).toMatch(/Code shared .*weak private external\s+__ZN7intattn6sharedEi/s)
})

test('sanitizers with libc++ build GoogleTest with the same flags', async () => {
  const googletest = path.join(temporary(), 'CMakeLists.txt')
  write(
    googletest,
    `get_directory_property(options COMPILE_OPTIONS)
message(STATUS "GoogleTest has \${options}")
add_library(GTest::gtest_main INTERFACE IMPORTED GLOBAL)
`,
  )
  const definitions = [
    ...['-DINTATTN_BUILD_TESTS=ON', '-DINTATTN_SANITIZE=address,undefined'],
    `-DFETCHCONTENT_SOURCE_DIR_GOOGLETEST=${path.dirname(googletest)}`,
  ]
  // What tells libc++ from others.
  const env = { ...process.env, CXXFLAGS: '-D_LIBCPP_VERSION=190000' }
  const build = temporary()
  const { stdout } = await $({ quiet: true, env })`cmake -S ${kernels} -B ${build} ${definitions}`
  expect(stdout).toContain('GoogleTest has -fsanitize=address,undefined;-fno-sanitize-recover=all')
  expect(existsSync(path.join(build, '_deps/googletest-build'))).toBe(true)
})
