import { existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { argv } from 'node:process'
import { findCrossCompiler } from '../native/cross-compiler.mjs'
import { findProgram, findTools } from '../native/preflight.mjs'

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
  plugin: 'apt install gcc',
  cmake: 'apt install cmake',
  make: 'apt install ninja-build',
}

async function findQemu() {
  const found = await findProgram(['qemu-aarch64'])
  const [, version, major, minor] = found?.version.match(/version ((\d+)\.(\d+)\S*)/) ?? []
  return found && { program: found.program, version, major: Number(major), minor: Number(minor) }
}

/**
 * What counting needs, and in `missing`, one line each, what of it is not here, with the remedy.
 * @param compilerNamed a clang++ other than the first found
 */
export async function findToolchain(compilerNamed) {
  const { cmake, make } = await findTools()
  const [qemu, cross, plugin] = await Promise.all([
    findQemu(),
    findCrossCompiler(compilerNamed),
    findProgram(['cc', 'gcc', 'clang', 'clang-19']),
  ])
  const objdump = await findProgram(['llvm-objdump-19', 'llvm-objdump', 'aarch64-linux-gnu-objdump'])
  const missing = []
  const need = (there, what, remedy) => there || missing.push(`missing: ${what}\n  get it: ${remedy}`)
  need(process.platform === 'linux', 'an emulator of arm64 programs', remedies.linux)
  need(qemu, 'qemu-aarch64 7.2 or newer, with plugins', remedies.qemu)
  if (qemu && qemu.major * 100 + qemu.minor < 702)
    missing.push(`too old: qemu-aarch64 ${qemu.version}; 7.2 or newer is needed`)
  missing.push(...cross.missing)
  need(plugin, "a C compiler for this machine, for QEMU's plugin", remedies.plugin)
  need(cmake, 'CMake', remedies.cmake)
  need(make, 'ninja or make', remedies.make)
  return { qemu, compiler: cross.compiler, plugin, objdump, missing }
}

// What the counts depend on besides sources: an input of the build cache.
if (import.meta.filename === realpathSync(argv[1])) {
  const { qemu, compiler, missing } = await findToolchain()
  console.log(`qemu-aarch64 ${qemu?.version}, clang ${compiler?.version}`)
  console.log(missing.join('\n'))
}
