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
 * @param {string[]} last the flags after those of the caller
 */
async function writeZigWrappers(directory, zig, flags, last) {
  await mkdir(directory, { recursive: true })
  const wrappers = { clang: ['cc', ...flags], 'clang++': ['c++', ...flags], ar: ['ar'], ranlib: ['ranlib'] }
  for (const [name, args] of Object.entries(wrappers)) {
    const file = path.join(directory, name)
    const [program, ...rest] = [zig, ...args].map(quoted)
    const after = name.startsWith('clang') ? last.map(quoted) : []
    // Asked for its version, zig does not understand targets with the version of a C library.
    const version = `[ "$*" = -dumpversion ] && exec ${program} ${rest[0]} -dumpversion`
    await writeFile(file, `#!/bin/sh\n${version}\nexec ${[program, ...rest, '"$@"', ...after].join(' ')}\n`)
    await chmod(file, 0o755)
  }
}

/**
 * How compilers are called for a toolchain: the environment of scons. The flags are part of CC and CXX: ComputeLibrary's own option
 * for more of them reaches only C++, as do its own for CPU and optimization, and since 25.02 there are files of C and assembly too,
 * KleidiAI's.
 * @param {import('./preflight.mjs').FoundToolchain} found
 * @param {string} prefix
 * @param {string} cache for zig's own C++ library, which it compiles once
 * @param {string[]} [tuning] for a CPU; zig takes the last word on that, and does not know the one that ComputeLibrary says
 * @returns {Promise<NodeJS.ProcessEnv & { CXX: string }>}
 */
export async function compilerEnvironment({ toolchain, compiler }, prefix, cache, tuning = []) {
  const { cc, cxx, zig } = compiler
  if (!zig)
    return {
      ...process.env,
      ...reproducible,
      CC: [cc, ...toolchain.flags, ...tuning].join(' '),
      CXX: [cxx, ...toolchain.flags, ...tuning].join(' '),
    }
  const wrappers = path.join(prefix, 'wrappers')
  await writeZigWrappers(wrappers, zig, toolchain.flags, tuning)
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
