import { existsSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'

/**
 * The words of a command as CC and CXX have it: a compiler, perhaps with flags or behind a launcher.
 * @param {string} command
 */
export const wordsOf = (command) => (existsSync(command) ? [command] : command.trim().split(/\s+/))

/** Programs that keep what a compiler made, or have another machine make it. */
const launchers = ['ccache', 'sccache', 'distcc', 'icecc', 'buildcache']

/**
 * A command without the launchers that it begins with, and these.
 * @param {string} command
 */
export function withoutLaunchers(command) {
  const words = wordsOf(command)
  const first = words.findIndex((word) => !launchers.includes(path.basename(word)))
  return first > 0
    ? { launchers: words.slice(0, first), compiler: words.slice(first).join(' ') }
    : { launchers: [], compiler: command }
}

/**
 * The C compiler that belongs to a C++ compiler.
 * @param {string} cxx
 */
export function companionOf(cxx) {
  /** @type {Record<string, string>} */
  const names = { clang: 'clang', g: 'gcc', c: 'cc' }
  const renamed = (word) => word.replace(/(clang|g|c)\+\+(?=[^/]*$)/, (_, name) => names[name])
  return wordsOf(cxx)
    .map((word) => (word.startsWith('-') ? word : renamed(word)))
    .join(' ')
}

/**
 * What makes two builds the same bytes: archives without dates, and in one order, which ComputeLibrary's build files take from a Python
 * set.
 */
export const reproducible = { ZERO_AR_DATE: '1', PYTHONHASHSEED: '0' }

/** @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`

/**
 * Zig under the names that scons calls.
 * @param {string} directory
 * @param {string} zig
 * @param {string[]} flags
 */
async function writeZigWrappers(directory, zig, flags) {
  await mkdir(directory, { recursive: true })
  const wrappers = { clang: ['cc', ...flags], 'clang++': ['c++', ...flags], ar: ['ar'], ranlib: ['ranlib'] }
  for (const [name, args] of Object.entries(wrappers)) {
    const file = path.join(directory, name)
    const [program, ...rest] = [zig, ...args].map(quoted)
    // Asked for its version, zig does not understand targets with the version of a C library.
    const version = `[ "$*" = -dumpversion ] && exec ${program} ${rest[0]} -dumpversion`
    await writeFile(file, `#!/bin/sh\n${version}\nexec ${program} ${rest.join(' ')} "$@"\n`)
    await chmod(file, 0o755)
  }
}

/**
 * How compilers are called for a toolchain: the environment of scons. The flags are part of CC and CXX, since scons's own
 * option for more flags reaches only C++.
 * @param {import('./preflight.mjs').FoundToolchain} found
 * @param {string} prefix
 * @param {string} cache for zig's own C++ library, which it compiles once
 * @returns {Promise<NodeJS.ProcessEnv & { CXX: string }>}
 */
export async function compilerEnvironment({ toolchain, compiler }, prefix, cache) {
  const { cc, cxx, zig } = compiler
  if (!zig)
    return {
      ...process.env,
      ...reproducible,
      CC: [cc, ...toolchain.flags].join(' '),
      CXX: [cxx, ...toolchain.flags].join(' '),
    }
  const wrappers = path.join(prefix, 'wrappers')
  await writeZigWrappers(wrappers, zig, toolchain.flags)
  return {
    ...process.env,
    ...reproducible,
    PATH: `${wrappers}${path.delimiter}${process.env.PATH}`,
    CC: cc,
    CXX: cxx,
    ZIG_GLOBAL_CACHE_DIR: cache,
    ZIG_LOCAL_CACHE_DIR: cache,
  }
}
