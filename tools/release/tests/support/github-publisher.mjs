import { connect } from '../../publish/github/client.mjs'
import { makePublic, prepare } from '../../publish/github.mjs'
import { defaultLimits } from '../../publish/limits.mjs'
import { notesOf } from '../../publish/notes.mjs'
import { readRelease } from '../../publish/release.mjs'
import { targetOf } from '../../publish/target.mjs'

/** Lets octokit write without the second it leaves between writes. */
const unpaced = { key: () => ({ schedule: (_options, work) => work() }) }
export const throttle = { write: unpaced, notifications: unpaced }

/** Waits of milliseconds. */
export const waits = { retries: 2, second: 1, timeout: 5000, patience: 60, polls: 5 }

/**
 * The part of publishing that GitHub sees.
 * @param {import('./github-server.mjs').GitHubServer} server
 * @param {{ directory: string, changelog: string }} made
 * @param {{ dryRun?: boolean, timeout?: number, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<{ problem?: any, said: string }>}
 */
export async function publishOnGitHub(server, { directory, changelog }, { dryRun = false, timeout, env } = {}) {
  /** @type {string[]} */
  const said = []
  const say = (text) => said.push(text)
  const { repository, token, commit, apiUrl } = server
  try {
    const target = targetOf({ repository, commit, apiUrl }, env ?? { GITHUB_TOKEN: token })
    const release = await readRelease(directory)
    const notes = await notesOf(changelog, release)
    const shared = { notes, commit: target.commit, dryRun, say }
    const within = { ...defaultLimits, ...waits, ...(timeout ? { timeout } : {}) }
    const github = connect({ target, limits: within, throttle, say })
    const prepared = await prepare(github, release, shared)
    await makePublic(github, release, prepared, shared)
    return { said: said.join('\n') }
  } catch (problem) {
    return { problem, said: said.join('\n') }
  }
}
