import { realpathSync } from 'node:fs'
import path from 'node:path'
import { $ } from 'zx/core'
import { Unavailable } from './problem.mjs'
import { missing } from './remedies.mjs'

/** What a caller's git (a hook, say) has set must not reach ours. */
function withoutGit() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_')))
}

/**
 * Runs git on plain files: no repository around them is looked for (git apply leaves out, without a word, what is
 * outside the current directory of a repository), and no configuration of the user's changes what comes out.
 * @param {string} cwd
 * @param {string[]} args
 */
export async function gitOnFiles(cwd, args) {
  const real = realpathSync(cwd)
  const env = {
    ...withoutGit(),
    LC_ALL: 'C',
    GIT_CEILING_DIRECTORIES: path.dirname(real),
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
  }
  return run(real, env, args)
}

/**
 * Runs git with the user's configuration (proxies, credentials) in a repository, or to make one.
 * @param {string} cwd
 * @param {string[]} args
 * @param {{ shown?: boolean }} [options] `shown`: what git says is seen while it says it
 */
export async function git(cwd, args, options) {
  const env = { ...withoutGit(), LC_ALL: 'C', GIT_TERMINAL_PROMPT: '0' }
  return run(cwd, env, args, options)
}

/**
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} env
 * @param {string[]} args
 * @param {{ shown?: boolean }} [options]
 */
async function run(cwd, env, args, { shown = false } = {}) {
  const running = $({ nothrow: true, quiet: true, cwd, env })`git -c core.autocrlf=false ${args}`
  if (shown) running.stderr.pipe(process.stderr)
  const done = await running
  if (done.exitCode === 127) throw new Unavailable(missing('git'))
  return done
}
