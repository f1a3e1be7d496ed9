import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { $ } from 'zx/core'
import { Problem, Unavailable } from './problem.mjs'
import { missing } from './remedies.mjs'
import { cpus, targets, toolchains } from './toolchains.mjs'

/**
 * The first line that a program prints, when there is such a program and it succeeds.
 * @param {string[]} command
 */
async function firstLine(command) {
  const { exitCode, stdout } = await $({ nothrow: true, quiet: true, env: { ...process.env, LC_ALL: 'C' } })`${command}`
  return exitCode === 0 ? stdout.trim().split('\n')[0] : undefined
}

/** How scons is started here, however it is installed. */
async function findScons() {
  for (const command of [['scons'], ['python3', '-m', 'SCons'], ['pipx', 'run', 'scons']])
    if ((await firstLine([...command, '--version'])) !== undefined) return command
  return undefined
}

/** @param {string} program any version suffix will do; the newest is taken when there is none without */
function variants(program) {
  const versions = (process.env.PATH ?? '')
    .split(path.delimiter)
    .flatMap((directory) => {
      try {
        return readdirSync(directory)
      } catch {
        return []
      }
    })
    .flatMap((name) => (name.startsWith(`${program}-`) ? [Number(name.slice(program.length + 1))] : []))
    .filter(Number.isInteger)
  return [program, ...[...new Set(versions)].sort((a, b) => b - a).map((version) => `${program}-${version}`)]
}

/**
 * @typedef {object} FoundCompiler
 * @property {string} cc as scons is to call it
 * @property {string} cxx
 * @property {string} version
 * @property {string} [zig] the program behind them
 */

/**
 * The compilers for C and C++: those of CC and CXX, else the first pair found.
 * @param {import('./toolchains.mjs').Toolchain} toolchain
 * @returns {Promise<FoundCompiler | undefined>}
 */
async function findCompiler(toolchain) {
  const pairs = toolchain.compilers.flatMap(([cc, cxx]) =>
    variants(cxx).map((name) => [`${cc}${name.slice(cxx.length)}`, name]),
  )
  const { CC, CXX } = process.env
  if (CXX) pairs.splice(0, pairs.length, [CC || CXX.replace(/clang\+\+/, 'clang').replace(/g\+\+/, 'gcc'), CXX])
  for (const [cc, cxx] of pairs) {
    const version = await firstLine([...cxx.split(' '), '--version'])
    if (version !== undefined && (await firstLine([...cc.split(' '), '--version'])) !== undefined)
      return { cc, cxx, version }
  }
  return undefined
}

/**
 * The zig program itself, also when it comes as a Python package.
 * @returns {Promise<FoundCompiler | undefined>}
 */
async function findZig() {
  const where = 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))'
  // Every Python on the PATH: Nx puts the directory of Node, and with it perhaps another Python, before a virtual environment.
  const pythons = (process.env.PATH ?? '').split(path.delimiter).map((directory) => path.join(directory, 'python3'))
  const packaged = async (python) => existsSync(python) && (await firstLine([python, '-c', where]))
  for (const candidate of ['zig', ...pythons]) {
    const zig = candidate === 'zig' ? candidate : await packaged(candidate)
    const version = zig && (await firstLine([zig, 'version']))
    if (version) return { cc: 'clang', cxx: 'clang++', version: `zig ${version}`, zig }
  }
  return undefined
}

/**
 * Whether a compiler finds C's and C++'s libraries for its target.
 * @param {string} cxx
 * @param {string[]} flags
 */
async function knowsLibraries(cxx, flags) {
  const places = ['libc.so', 'libstdc++.so'].map((name) =>
    firstLine([...cxx.split(' '), ...flags, `-print-file-name=${name}`]),
  )
  return (await Promise.all(places)).every((place) => place && path.isAbsolute(place))
}

export const host = `${process.platform}-${process.arch}`

/** @param {string} name */
const isTarget = (name) => targets.some((target) => target === name)

/**
 * What is to be built when the command line does not say.
 * @param {{ target?: string, cpu?: string }} wanted
 */
export function choose({ target, cpu }) {
  if (target !== undefined && !isTarget(target))
    throw new Problem(`--target: expected ${targets.join(' or ')}, received ${target}`)
  if (cpu !== undefined && !cpus[cpu])
    throw new Problem(`--cpu: expected one of ${Object.keys(cpus).join(', ')}, received ${cpu}`)
  const one = target ?? (cpu ? cpus[cpu].target : host)
  if (!isTarget(one))
    throw new Problem(
      `ComputeLibrary is for arm64, and this machine is ${host}`,
      `to build it for another machine: ${targets.map((name) => `--target ${name}`).join(' or ')}`,
    )
  const fitting = Object.keys(cpus).filter((name) => cpus[name].target === one)
  if (cpu !== undefined && !fitting.includes(cpu))
    throw new Problem(`--cpu: expected one of ${fitting.join(', ')} for ${one}, received ${cpu}`)
  return { target: one, cpu: cpu ?? fitting[0] }
}

/**
 * The toolchain for a target on this machine, with the programs found; `lines` says what is not there.
 * @param {string} target
 */
async function findToolchain(target) {
  const toolchain = toolchains.find((one) => one.target === target && one.runsOn(host))
  if (!toolchain) throw new Problem(`--target ${target}: cannot be built on ${host}`)
  const zig = toolchain.needs.includes('zig')
  const [scons, git, compiler] = await Promise.all([
    findScons(),
    firstLine(['git', '--version']),
    zig ? findZig() : findCompiler(toolchain),
  ])
  /** @type {string[]} */
  const lines = []
  if (!scons) lines.push(missing('scons'))
  if (!git) lines.push(missing('git'))
  if (!compiler && zig) lines.push(missing('zig'))
  if (!compiler && !zig) {
    const named = process.env.CXX ? ` (CXX=${process.env.CXX} does not run)` : ''
    lines.push(missing('compiler', `${toolchain.compilers.map(([, cxx]) => cxx).join(' or ')}${named}`))
  }
  if (toolchain.needs.includes('binutils') && (await firstLine(['aarch64-linux-gnu-ar', '--version'])) === undefined)
    lines.push(missing('binutils'))
  if (compiler && toolchain.needs.includes('libraries') && !(await knowsLibraries(compiler.cxx, toolchain.flags)))
    lines.push(missing('libraries'))
  return { toolchain, scons, compiler, lines: [...new Set(lines)] }
}

/**
 * The toolchain for a target, or a Problem with what is missing for it.
 * @param {string} target
 */
export async function requireToolchain(target) {
  const { toolchain, scons, compiler, lines } = await findToolchain(target)
  if (lines.length || !scons || !compiler)
    throw new Unavailable(`ComputeLibrary for ${target} cannot be built here (${toolchain.name})`, ...lines)
  return { toolchain, scons, compiler }
}

/** @typedef {Awaited<ReturnType<typeof requireToolchain>>} FoundToolchain */
