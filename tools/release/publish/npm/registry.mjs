import { $ } from 'zx/core'
import { Problem, Unavailable } from '../../../acl/problem.mjs'
import { again } from '../again.mjs'

/**
 * The registry that npm is configured for, seen through npm, which brings its own authentication, proxies and retries.
 * @param {{ cwd: string, env: NodeJS.ProcessEnv }} where
 */
export function registryOf({ cwd, env }) {
  /** @param {string[]} args */
  async function npm(args) {
    const run = $({ nothrow: true, quiet: true, cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    const done = await run`npm ${args} --loglevel=error`
    if (done.exitCode === 127) throw new Unavailable('missing: npm')
    return done
  }

  return {
    /**
     * The integrity of a version in the registry, undefined when it has none.
     * @param {import('../release.mjs').Package} one
     * @returns {Promise<string | undefined>}
     */
    async integrityOf({ name, version }) {
      const { exitCode, stdout, stderr } = await npm(['view', `${name}@${version}`, 'dist.integrity', '--json'])
      const answer = parsed(stdout)
      if (exitCode === 0 && (answer === undefined || typeof answer === 'string')) return answer
      if (answer?.error?.code === 'E404') return undefined
      throw new Problem(`npm view ${name}@${version} failed:`, stderr.trim() || answer?.error?.summary || stdout, again)
    },

    /**
     * @param {import('../release.mjs').Package} one
     * @param {{ tag: string, dryRun: boolean, provenance: boolean }} options
     */
    async publish({ name, version, file }, { tag, dryRun, provenance }) {
      const args = ['publish', file, '--access', 'public', '--tag', tag, '--ignore-scripts']
      if (provenance) args.push('--provenance')
      if (dryRun) args.push('--dry-run')
      const { exitCode, stderr } = await npm(args)
      if (exitCode !== 0) throw new Problem(`npm publish of ${name}@${version} failed:`, stderr.trim(), again)
    },
  }
}

/** @typedef {ReturnType<typeof registryOf>} Registry */

/** @param {string} text */
function parsed(text) {
  if (!text.trim()) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return { error: { summary: text } }
  }
}
