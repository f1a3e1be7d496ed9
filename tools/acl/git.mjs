import { $ } from 'zx/core'
import { Unavailable } from './problem.mjs'
import { missing } from './remedies.mjs'

/** What a caller's git (a hook, say) has set must not reach ours. */
function withoutGit() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_')))
}

/** What no configuration may make of the files of a repository, nor start. */
const plain = [
  ...['core.autocrlf=false', 'core.eol=lf', 'core.attributesFile=/dev/null', 'core.fsmonitor=false'],
  'core.hooksPath=/dev/null',
].flatMap((setting) => ['-c', setting])

/**
 * Runs git on plain files: a repository around them is none (git apply leaves out, without a word, what is outside the current
 * directory of one; git diff starts the programs that its configuration names), and no configuration of the user's changes what
 * comes out.
 * @param {string} cwd
 * @param {string[]} args
 */
export async function gitOnFiles(cwd, args) {
  const env = {
    ...withoutGit(),
    LC_ALL: 'C',
    GIT_DIR: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
  }
  return run(cwd, env, args)
}

/**
 * Runs git with the user's configuration (proxies, credentials) to make a repository, or in one that was made so: never in one that
 * was handed in, whose configuration names programs.
 * @param {string} cwd
 * @param {string[]} args
 * @param {{ shown?: boolean }} [options] `shown`: what git says is seen while it says it
 */
export async function git(cwd, args, options) {
  const env = {
    ...withoutGit(),
    ...{ LC_ALL: 'C', GIT_TERMINAL_PROMPT: '0', GIT_NO_REPLACE_OBJECTS: '1', GIT_ATTR_NOSYSTEM: '1' },
  }
  return run(cwd, env, args, options)
}

/**
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} env
 * @param {string[]} args
 * @param {{ shown?: boolean }} [options]
 */
async function run(cwd, env, args, { shown = false } = {}) {
  const running = $({ nothrow: true, quiet: true, cwd, env })`git ${plain} ${args}`
  if (shown) running.stderr.pipe(process.stderr)
  const done = await running
  if (done.exitCode === 127) throw new Unavailable(missing('git'))
  return done
}
