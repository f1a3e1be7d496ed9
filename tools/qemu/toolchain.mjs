import { existsSync } from 'node:fs'
import path from 'node:path'
import { argv } from 'node:process'
import { pathToFileURL } from 'node:url'
import { $, glob } from 'zx'
import { findTools } from '../native/preflight.mjs'
import { sysroot } from './cpu.mjs'

/** Compiler whose counts are recorded in counts.json. */
export const recordedCompiler = 'clang 19'

/** Where tools/acl installs ComputeLibrary for the emulated CPU. */
export const defaultComputeLibrary = path.join(import.meta.dirname, '../../build/compute-library/linux-arm64-armv8.6-a')

export const isComputeLibrary = (prefix) => existsSync(path.join(prefix, 'build.json'))

export const missingComputeLibrary = (prefix) =>
  `missing: a ComputeLibrary for arm64 Linux at ${prefix}\n  get it: nx run acl:build --target linux-arm64`

const remedies = {
  linux: 'Linux: qemu-aarch64 is a user-mode emulator and runs there only',
  qemu: 'apt install qemu-user, dnf install qemu-user',
  compiler: 'apt install clang-19 lld-19 (apt.llvm.org where the distribution is older)',
  linker: 'apt install lld-19',
  libraries: 'apt install g++-aarch64-linux-gnu',
  plugin: 'apt install gcc',
  cmake: 'apt install cmake',
  make: 'apt install ninja-build',
}

async function versionOf(program) {
  const { exitCode, stdout } = await $({ nothrow: true, quiet: true })`${program} --version`
  return exitCode === 0 ? stdout : undefined
}

async function first(programs) {
  for (const program of programs) {
    const version = program && (await versionOf(program))
    if (version !== undefined) return { program, version }
  }
  return undefined
}

async function findQemu() {
  const found = await first(['qemu-aarch64'])
  const [, version, major, minor] = found?.version.match(/version ((\d+)\.(\d+)\S*)/) ?? []
  return found && { program: found.program, version, major: Number(major), minor: Number(minor) }
}

async function findCompiler(named) {
  const found = await first(named ? [named] : ['clang++-19', 'clang++'])
  const [, version] = found?.version.match(/clang version (\S+)/) ?? []
  return version && { program: found.program, version, name: `clang ${version.split('.')[0]}` }
}

async function librariesThere() {
  if (process.arch === 'arm64') return true
  const runtime = await glob('/usr/lib/gcc-cross/aarch64-linux-gnu/*/libstdc++.a')
  return existsSync(`${sysroot}/lib/libc.a`) && runtime.length > 0
}

/**
 * What counting needs, and in `missing`, one line each, what of it is not here, with the remedy.
 * @param compilerNamed a clang++ other than the first found
 */
export async function findToolchain(compilerNamed) {
  const { cmake, make } = await findTools()
  const [qemu, compiler, linker, plugin] = await Promise.all([
    findQemu(),
    findCompiler(compilerNamed),
    first(['ld.lld', 'ld.lld-19']),
    first(['cc', 'gcc', 'clang', 'clang-19']),
  ])
  const objdump = await first(['llvm-objdump-19', 'llvm-objdump', 'aarch64-linux-gnu-objdump'])
  const missing = []
  const need = (there, what, remedy) => there || missing.push(`missing: ${what}\n  get it: ${remedy}`)
  need(process.platform === 'linux', 'an emulator of arm64 programs', remedies.linux)
  need(qemu, 'qemu-aarch64 7.2 or newer, with plugins', remedies.qemu)
  if (qemu && qemu.major * 100 + qemu.minor < 702)
    missing.push(`too old: qemu-aarch64 ${qemu.version}; 7.2 or newer is needed`)
  need(compiler, `${compilerNamed ?? 'clang++-19'}, as a compiler for arm64`, remedies.compiler)
  need(linker, 'ld.lld', remedies.linker)
  need(await librariesThere(), "arm64 Linux's C and C++ libraries", remedies.libraries)
  need(plugin, "a C compiler for this machine, for QEMU's plugin", remedies.plugin)
  need(cmake, 'CMake', remedies.cmake)
  need(make, 'ninja or make', remedies.make)
  return { qemu, compiler, plugin, make, objdump, missing }
}

// What the counts depend on besides sources: an input of the build cache.
if (import.meta.url === pathToFileURL(argv[1]).href) {
  const { qemu, compiler, missing } = await findToolchain()
  console.log(`qemu-aarch64 ${qemu?.version}, clang ${compiler?.version}`)
  console.log(missing.join('\n'))
}
