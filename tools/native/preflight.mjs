import os from 'node:os'
import { argv } from 'node:process'
import { pathToFileURL } from 'node:url'
import { $ } from 'zx'

/** First line of `program --version`, or undefined when there is no such program. */
async function versionOf(program) {
  const { exitCode, stdout } = await $({
    nothrow: true,
    quiet: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })`${program} --version`
  return exitCode === 0 ? { program, version: stdout.split('\n')[0].trim() } : undefined
}

async function first(programs) {
  for (const program of programs) {
    const found = program && (await versionOf(program))
    if (found) return found
  }
  return undefined
}

/** CMake, the C++ compiler it would choose, and the program that runs the build. */
export async function findTools() {
  return {
    cmake: await first(['cmake']),
    compiler: await first(process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++']),
    make: await first(['ninja', 'make', 'gmake']),
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
  if (version && Number(version[1]) * 100 + Number(version[2]) < 318)
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
