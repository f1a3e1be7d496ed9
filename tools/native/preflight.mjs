// What native builds need of this machine: found, or installed as Python packages are.
import { realpathSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { argv } from 'node:process'
import { $ } from 'zx'
import { wordsOf } from '../acl/compilers.mjs'
import { ownLayout, variants } from '../acl/preflight.mjs'
import { messageOf } from '../acl/problem.mjs'
import { canInstall, folderIn, install, lockedVersion, pythonWith } from '../acl/python.mjs'
import { appleClang } from '../acl/toolchains.mjs'

/** First line of `program --version`, or undefined when there is no such program. */
async function versionOf(program) {
  const { exitCode, stdout } = await $({
    nothrow: true,
    quiet: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })`${wordsOf(program)} --version`
  return exitCode === 0 ? { program, version: stdout.split('\n')[0].trim() } : undefined
}

/**
 * The first of some programs that is here.
 * @param {Iterable<string | undefined>} programs
 */
export async function findProgram(programs) {
  for (const program of programs) {
    const found = program && (await versionOf(program))
    if (found) return found
  }
  return undefined
}

/** @param {{ version: string }} cmake */
function isOld({ version }) {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(version) ?? []
  return Number(major) * 100 + Number(minor) < 318
}

/** What an earlier build has installed. @param {'cmake' | 'ninja'} tool */
async function findInstalled(tool) {
  const python = await pythonWith(ownLayout, tool)
  const folder = python && (await folderIn(python, tool))
  return folder ? findProgram([path.join(folder, tool)]) : undefined
}

async function findCMake() {
  const own = await findProgram(['cmake'])
  return own && !isOld(own) ? own : ((await findInstalled('cmake')) ?? own)
}

/** CMake, the C++ compiler it chooses in `cmakeEnvironment` (cmake-environment.mjs), and the program that runs the build. */
export async function findTools() {
  const compilers = os.platform() === 'darwin' ? [appleClang.cxx] : ['c++', 'g++', ...variants('clang++')]
  return {
    cmake: await findCMake(),
    compiler: await findProgram(process.env.CXX ? [process.env.CXX] : compilers),
    make: (await findProgram(['ninja', 'make', 'gmake'])) ?? (await findInstalled('ninja')),
  }
}

const installs = 'or python3-venv, and the build installs it'
const remedies = {
  darwin: {
    cmake: 'xcode-select --install brings Python, with which the build installs it; or brew install cmake',
    compiler: 'xcode-select --install',
    make: 'xcode-select --install',
  },
  linux: {
    cmake: `apt install cmake (Debian, Ubuntu), dnf install cmake (Fedora), apk add cmake (Alpine); ${installs}`,
    compiler: 'apt install g++, dnf install gcc-c++, apk add g++',
    make: `apt install make, dnf install make, apk add make; ${installs}`,
  },
}

const names = { cmake: 'CMake 3.18 or newer', compiler: 'a C++17 compiler (GCC 11+, clang 14+)', make: 'make or ninja' }

/** The tools of a native build that are not there, or too old, and how to get them. */
async function lacks() {
  const tools = await findTools()
  /** @type {{ tool: keyof typeof names, line: string }[]} */
  const found = []
  for (const tool of /** @type {(keyof typeof names)[]} */ (Object.keys(names))) {
    const there = tools[tool]
    const old = tool === 'cmake' && there && isOld(there)
    if (there && !old) continue
    const named = tool === 'compiler' && process.env.CXX ? ` (CXX=${process.env.CXX} does not run)` : ''
    const remedy = remedies[os.platform()]?.[tool]
    const what = old ? `too old: ${there.version}; ${names.cmake} is needed` : `missing: ${names[tool]}${named}`
    found.push({ tool, line: `${what}${remedy ? `\n  get it: ${remedy}` : ''}` })
  }
  return found
}

/** What a build installs, from Python packages, where something is lacking. @type {Record<string, 'cmake' | 'ninja' | undefined>} */
const packaged = { cmake: 'cmake', make: 'ninja' }

/**
 * Installs what a native build lacks and can be installed; fails with what is missing then.
 * @param {(text: string) => void} say
 */
export async function requireTools(say) {
  let lacking = await lacks()
  const tools = lacking.flatMap(({ tool }) => packaged[tool] ?? [])
  /** @type {string[]} */
  const failures = []
  if (tools.length && (await canInstall())) {
    for (const tool of tools) await install(ownLayout, tool, say).catch((error) => failures.push(messageOf(error)))
    lacking = await lacks()
  }
  if (lacking.length) {
    const lines = lacking.map(({ line }) => line)
    throw new Error(['intattn is built from source and cannot be here:', ...lines, ...failures].join('\n'))
  }
}

/** What a native build depends on besides sources: what is here, or would be installed. */
export async function describeTools() {
  const { cmake, compiler } = await findTools()
  const installed = async () => ((await canInstall()) ? `cmake version ${await lockedVersion('cmake')}` : 'no cmake')
  return [cmake && !isOld(cmake) ? cmake.version : await installed(), compiler?.version ?? 'no compiler']
}

if (import.meta.filename === realpathSync(argv[1]))
  try {
    await requireTools(console.error)
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
