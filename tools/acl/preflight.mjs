import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { $ } from 'zx/core'
import { companionOf, wordsOf } from './compilers.mjs'
import { layoutOf } from './layout.mjs'
import { complaintOf } from './links.mjs'
import { Problem, Unavailable, WrongCommand } from './problem.mjs'
import { canInstall, folderIn, install, lockedVersion, pythonWith } from './python.mjs'
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

/**
 * How scons is started here, however it is installed.
 * @param {import('./layout.mjs').Layout} layout
 */
async function findScons(layout) {
  const python = await pythonWith(layout, 'scons')
  for (const command of [['scons'], ['python3', '-m', 'SCons'], ...(python ? [[python, '-m', 'SCons']] : [])])
    if ((await firstLine([...command, '--version'])) !== undefined) return command
  return undefined
}

/**
 * The names under which a program may be here: as it is, then with the suffixes of its versions, the newest first.
 * @param {string} program
 */
export function variants(program) {
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
  if (CXX) pairs.splice(0, pairs.length, [CC || companionOf(CXX), CXX])
  for (const [cc, cxx] of pairs) {
    const version = await firstLine([...wordsOf(cxx), '--version'])
    if (version !== undefined && (await firstLine([...wordsOf(cc), '--version'])) !== undefined)
      return { cc, cxx, version }
  }
  return undefined
}

/**
 * The zig program itself, also when it comes as a Python package.
 * @param {import('./layout.mjs').Layout} layout
 * @returns {Promise<FoundCompiler | undefined>}
 */
async function findZig(layout) {
  // Every Python on the PATH: Nx puts the directory of Node, and with it perhaps another Python, before a virtual environment.
  const pythons = (process.env.PATH ?? '').split(path.delimiter).map((directory) => path.join(directory, 'python3'))
  const packaged = async (python) => {
    const folder = python && existsSync(python) && (await folderIn(python, 'zig'))
    return folder && path.join(folder, 'zig')
  }
  for (const candidate of ['zig', ...pythons, await pythonWith(layout, 'zig')]) {
    const zig = candidate === 'zig' ? candidate : await packaged(candidate)
    const version = zig && (await firstLine([zig, 'version']))
    if (version) return { cc: 'clang', cxx: 'clang++', version: `zig ${version}`, zig }
  }
  return undefined
}

/** Of the checkout that this file is in. */
export const ownLayout = layoutOf(path.resolve(import.meta.dirname, '../..'))

/** The zig program, when it is there. */
export const zigHere = async () => (await findZig(ownLayout))?.zig

/**
 * The zig program, installed when it is not there.
 * @param {(text: string) => void} say
 */
export async function requireZig(say) {
  const there = await zigHere()
  if (there) return there
  if (!(await canInstall())) throw new Unavailable('zig cannot be had here', missing('zig'))
  await install(ownLayout, 'zig', say)
  const installed = await zigHere()
  if (!installed) throw new Unavailable('zig: installed, but not to be found')
  return installed
}

export const host = `${process.platform}-${process.arch}`

/** @param {string} target */
const cpusOf = (target) => Object.keys(cpus).filter((name) => cpus[name].target === target)

/**
 * What is to be built when the command line does not say.
 * @param {{ target?: string, cpu?: string, portable?: boolean }} wanted
 */
export function choose({ target, cpu, portable = false }) {
  const one = target ?? (cpu ? cpus[cpu].target : host)
  const fitting = cpusOf(one)
  if (fitting.length === 0)
    throw new Problem(
      `ComputeLibrary is for arm64, and this machine is ${host}`,
      `to build it for another machine: ${targets.map((name) => `--target ${name}`).join(' or ')}`,
    )
  if (cpu !== undefined && !fitting.includes(cpu))
    throw new WrongCommand(`--cpu: expected one of ${fitting.join(', ')} for ${one}, received ${cpu}`)
  if (portable && one === 'darwin-arm64')
    throw new WrongCommand(
      '--portable: expected --target linux-arm64 (every build for macOS is portable), received darwin-arm64',
    )
  return { target: one, cpu: cpu ?? fitting[0], portable }
}

/**
 * The toolchain for a target on this machine, with the programs found; `lines` says what is not there, `absent` which of that a build
 * can install.
 * @param {import('./layout.mjs').Layout} layout
 * @param {string} target
 * @param {boolean} portable
 */
async function findToolchain(layout, target, portable) {
  const toolchain = toolchains.find((one) => one.target === target && one.runsOn(host) && (one.portable || !portable))
  if (!toolchain) throw new Problem(`--target ${target}: cannot be built on ${host}`)
  const zig = toolchain.needs.includes('zig')
  const [scons, git, compiler] = await Promise.all([
    findScons(layout),
    firstLine(['git', '--version']),
    zig ? findZig(layout) : findCompiler(toolchain),
  ])
  /** @type {import('./python.mjs').Tool[]} */
  const absent = []
  if (!scons) absent.push('scons')
  if (!compiler && zig) absent.push('zig')
  /** @type {string[]} */
  const lines = []
  if (absent.length && !(await canInstall())) lines.push(...absent.map((tool) => missing(tool)))
  if (!git) lines.push(missing('git'))
  const { CC, CXX } = process.env
  if (!compiler && !zig) {
    const named = CXX ? ` (CXX=${CXX} does not run)` : ''
    lines.push(missing('compiler', `${toolchain.compilers.map(([, cxx]) => cxx).join(' or ')}${named}`))
  }
  if (CC && !CXX && !zig) lines.push(`CC=${CC}, but no CXX: set both or none`)
  if (toolchain.needs.includes('binutils') && (await firstLine(['aarch64-linux-gnu-ar', '--version'])) === undefined)
    lines.push(missing('binutils'))
  if (compiler && toolchain.needs.includes('libraries')) {
    const { flags, linkFlags: libraries } = toolchain
    const complaint = await complaintOf([...wordsOf(compiler.cxx), ...flags], { libraries })
    if (complaint) lines.push(missing('libraries', `a compiler with libraries for ${target}: ${complaint}`))
  }
  if (lines.length)
    throw new Unavailable(`ComputeLibrary for ${target} cannot be built here (${toolchain.name})`, ...new Set(lines))
  return { toolchain, scons, compiler, absent }
}

/**
 * The toolchain for a target; what comes as a Python package is installed when it is not there. Throws a Problem with what is missing.
 * @param {import('./layout.mjs').Layout} layout
 * @param {string} target
 * @param {boolean} portable
 * @param {(text: string) => void} say
 */
export async function requireToolchain(layout, target, portable, say) {
  let found = await findToolchain(layout, target, portable)
  for (const tool of found.absent) await install(layout, tool, say)
  if (found.absent.length) found = await findToolchain(layout, target, portable)
  const { toolchain, scons, compiler } = found
  if (!scons || !compiler) throw new Unavailable(`${found.absent.join(', ')}: installed, but not to be found`)
  return { toolchain, scons, compiler }
}

/**
 * Throws a Problem when the compiler does not know a CPU.
 * @param {FoundToolchain} found
 * @param {string} cpu
 * @param {NodeJS.ProcessEnv & { CXX: string }} env for the compiler
 */
export async function requireTuning({ toolchain, compiler }, cpu, env) {
  /** @param {string} name */
  const complaint = async (name) => {
    const tuned = cpus[name].tuning[toolchain.dialect]
    return tuned && complaintOf([...wordsOf(env.CXX), tuned, '-c'], { env })
  }
  const said = await complaint(cpu)
  if (!said) return
  const known = []
  for (const name of cpusOf(toolchain.target)) if (!(await complaint(name))) known.push(name)
  throw new Problem(
    `--cpu ${cpu}: ${compiler.version} does not know it: ${said}`,
    known.length
      ? `of the CPUs for ${toolchain.target} it knows ${known.map((name) => `--cpu ${name}`).join(', ')}`
      : '',
  )
}

/**
 * What a build for a target would use; installs nothing. Throws a Problem with what is missing.
 * @param {import('./layout.mjs').Layout} layout
 * @param {string} target
 * @param {boolean} [portable]
 */
export async function describeToolchain(layout, target, portable = false) {
  const { toolchain, compiler } = await findToolchain(layout, target, portable)
  return { name: toolchain.name, compiler: compiler?.version ?? `zig ${await lockedVersion('zig')}` }
}

/** @typedef {Awaited<ReturnType<typeof requireToolchain>>} FoundToolchain */
