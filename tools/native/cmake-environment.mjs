import path from 'node:path'
import { $ } from 'zx'
import { companionOf, withoutLaunchers } from '../acl/compilers.mjs'
import { appleClang } from '../acl/toolchains.mjs'
import { findTools } from './preflight.mjs'

/** For CMake, CC and CXX without launchers: these have variables of their own, or CMake takes them for compilers. */
function withLaunchersApart() {
  /** @type {NodeJS.ProcessEnv} */
  const variables = {}
  for (const [name, language] of [
    ['CC', 'C'],
    ['CXX', 'CXX'],
  ]) {
    const { launchers, compiler } = withoutLaunchers(process.env[name] ?? '')
    if (launchers.length === 0) continue
    const variable = `CMAKE_${language}_COMPILER_LAUNCHER`
    Object.assign(variables, { [name]: compiler, [variable]: process.env[variable] ?? launchers.join(';') })
  }
  return variables
}

/** Names, for CMake, of a compiler that was found without CXX. @param {string} program @returns {Promise<NodeJS.ProcessEnv>} */
async function compilerVariables(program) {
  if (program === appleClang.cxx) {
    const [CC, CXX, SDKROOT] = await Promise.all(
      [['-f', 'clang'], ['-f', 'clang++'], ['--show-sdk-path']].map(async (args) =>
        (await $({ quiet: true })`xcrun ${args}`).stdout.trim(),
      ),
    )
    // By its own path, the compiler does not look for the system's headers where xcrun would have it look.
    return { CC, CXX, SDKROOT }
  }
  return /^clang\+\+-\d+$/.test(program) ? { CC: companionOf(program), CXX: program } : {}
}

/**
 * The environment in which CMake uses what was found: left alone, it looks for make only, and for no compiler with a version in its
 * name. A directory that was configured before keeps what it has.
 */
export async function cmakeEnvironment() {
  const { cmake, compiler, make } = await findTools()
  const folders = [cmake, make].flatMap((tool) =>
    tool && path.isAbsolute(tool.program) ? path.dirname(tool.program) : [],
  )
  return {
    ...(make && path.basename(make.program) === 'ninja' && { CMAKE_GENERATOR: 'Ninja' }),
    ...(compiler && !process.env.CXX && (await compilerVariables(compiler.program))),
    // Apple's ar and ranlib write dates otherwise.
    ZERO_AR_DATE: '1',
    ...process.env,
    ...withLaunchersApart(),
    PATH: [...folders, process.env.PATH].join(path.delimiter),
  }
}
