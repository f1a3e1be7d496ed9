import os from 'node:os'
import { argv } from 'node:process'
import { pathToFileURL } from 'node:url'
import { $ } from 'zx'
import { variants } from '../acl/preflight.mjs'

/** First line of `program --version`, or undefined when there is no such program. */
async function versionOf(program) {
  const { exitCode, stdout } = await $({
    nothrow: true,
    quiet: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })`${program.split(' ')} --version`
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

/** CMake, the C++ compiler it chooses in `cmakeEnvironment`, and the program that runs the build. */
export async function findTools() {
  return {
    cmake: await findProgram(['cmake']),
    compiler: await findProgram(process.env.CXX ? [process.env.CXX] : ['c++', 'g++', ...variants('clang++')]),
    make: await findProgram(['ninja', 'make', 'gmake']),
  }
}

/**
 * The environment in which CMake uses what was found: left alone, it looks for make only, and for no compiler with a version in its
 * name. A directory that was configured before keeps what it has.
 */
export async function cmakeEnvironment() {
  const { compiler, make } = await findTools()
  const [name, version] = compiler?.program.match(/^clang\+\+(-\d+)$/) ?? []
  return {
    ...(make?.program === 'ninja' && { CMAKE_GENERATOR: 'Ninja' }),
    ...(name && { CC: `clang${version}`, CXX: name }),
    // Apple's ar and ranlib write dates otherwise.
    ZERO_AR_DATE: '1',
    ...process.env,
  }
}

const remedies = {
  darwin: {
    cmake: 'brew install cmake, or the disk image from cmake.org',
    compiler: 'xcode-select --install',
    make: 'xcode-select --install',
  },
  linux: {
    cmake: 'apt install cmake (Debian, Ubuntu), dnf install cmake (Fedora), apk add cmake (Alpine)',
    compiler: 'apt install g++, dnf install gcc-c++, apk add g++',
    make: 'apt install make, dnf install make, apk add make',
  },
}

const names = { cmake: 'CMake 3.18 or newer', compiler: 'a C++17 compiler (GCC 11+, clang 14+)', make: 'make or ninja' }

/** What is missing for a native build, one line each, with how to get it. */
export async function missingTools() {
  const tools = await findTools()
  const lines = []
  for (const [tool, found] of Object.entries(tools)) {
    if (found) continue
    const named = tool === 'compiler' && process.env.CXX ? ` (CXX=${process.env.CXX} does not run)` : ''
    const remedy = remedies[os.platform()]?.[tool]
    lines.push(`missing: ${names[tool]}${named}${remedy ? `\n  get it: ${remedy}` : ''}`)
  }
  const version = tools.cmake?.version.match(/(\d+)\.(\d+)/)
  if (tools.cmake && version && Number(version[1]) * 100 + Number(version[2]) < 318)
    lines.push(`too old: ${tools.cmake.version}; CMake 3.18 or newer is needed`)
  return lines
}

if (import.meta.url === pathToFileURL(argv[1]).href) {
  const lines = await missingTools()
  if (lines.length) {
    console.error(['intattn is built from source and cannot be here:', ...lines].join('\n'))
    process.exit(1)
  }
}
