import path from 'node:path'
import { connect } from './github/client.mjs'
import { makePublic, prepare } from './github.mjs'
import { defaultLimits } from './limits.mjs'
import { notesOf } from './notes.mjs'
import { checkManifests } from './npm/manifests.mjs'
import { registryOf } from './npm/registry.mjs'
import { findMissing, publishPackages } from './npm.mjs'
import { readRelease } from './release.mjs'
import { targetOf } from './target.mjs'

/**
 * Publishes what `pack` has left: a release on GitHub with its assets, and the npm packages.
 *
 * What cannot be undone comes late, after everything that can fail: first all that only reads; then the draft, which
 * nobody sees, until what GitHub gives back is what the files are; then the npm packages, those that people install
 * last; and last, with one small request, the draft becomes public. Whatever fails, nobody sees a half, and the same
 * call again finds what is there and goes on.
 *
 * @param {object} options
 * @param {string} options.directory build/release
 * @param {string} options.changelog path of CHANGELOG.md; its section of the version is the text of the release
 * @param {string} [options.repository] OWNER/NAME; default: GITHUB_REPOSITORY
 * @param {string} [options.token] default: GITHUB_TOKEN, then GH_TOKEN
 * @param {string} [options.commit] that the tag must point to; default: GITHUB_SHA; without either it is not compared
 * @param {string} [options.apiUrl] default: GITHUB_API_URL, then that of github.com
 * @param {boolean} [options.dryRun] (default) reads and compares everything, says what would be done, changes nothing
 * @param {boolean} [options.provenance] (default) `npm publish --provenance`, which works on CI machines that npm knows
 * @param {NodeJS.ProcessEnv} [options.env] also npm's: its registry, its authentication
 * @param {Partial<import('./limits.mjs').Limits>} [options.limits]
 * @param {object} [options.throttle] more options of octokit's throttling
 * @param {(text: string) => void} options.say
 */
export async function publish(options) {
  const { directory, changelog, dryRun = true, provenance = true, env = process.env, limits, throttle, say } = options
  const target = targetOf(options, env)
  const release = await readRelease(directory)
  const needs = await checkManifests(release.packages)
  const notes = await notesOf(changelog, release)
  const common = { dryRun, say, limits: { ...defaultLimits, ...limits } }

  const registry = registryOf({ cwd: path.resolve(directory), env })
  const missing = await findMissing(registry, release.packages)
  const github = connect({ target, throttle, ...common })
  const prepared = await prepare(github, release, { notes, commit: target.commit, ...common })
  await publishPackages(registry, release, missing, { needs, provenance, ...common })
  await makePublic(github, release, prepared, { notes, commit: target.commit, ...common })
}
