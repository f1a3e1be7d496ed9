import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { gitOnFiles } from './git.mjs'
import { Problem } from './problem.mjs'
import { beside, writeJson } from './temporary.mjs'
import { checkVersions } from './versions.mjs'

/**
 * @typedef {object} Alternate
 * @property {string} name
 * @property {string} version
 * @property {string} suite
 * @property {string} package
 * @property {string} file
 * @property {string} sha256 of the tarball
 * @property {string | null} tree digest of the files in it
 */

/**
 * @typedef {object} Lock
 * @property {string} version
 * @property {string} tag
 * @property {string} git
 * @property {string | null} commit of the tag; null until `lock` has recorded it
 * @property {string | null} tree digest of the files of that commit; null as long as `commit` is
 * @property {Alternate[]} alternates
 * @property {import('./versions.mjs').VersionRange[]} versions for which it is known how the series does
 */

/** What records the commit and digest of the tag in the lock. */
export const lockCommand = 'node tools/acl/main.mjs lock'

/**
 * @param {import('./layout.mjs').Layout} layout
 * @returns {Promise<Lock>}
 */
export async function readLock(layout) {
  const place = layout.name(layout.lock)
  let lock
  try {
    lock = JSON.parse(await readFile(layout.lock, 'utf8')).ComputeLibrary
  } catch (error) {
    throw new Problem(`${place}: ${error.message}`)
  }
  for (const key of ['version', 'tag', 'git'])
    if (typeof lock?.[key] !== 'string') throw new Problem(`${place}: ComputeLibrary.${key}: expected a string`)
  const { commit, tree, alternates = [], versions = [] } = lock
  for (const [key, value, digits] of [
    ['commit', commit, 40],
    ['tree', tree, 64],
  ])
    if (value !== null && !new RegExp(`^[0-9a-f]{${digits}}$`).test(value))
      throw new Problem(`${place}: ComputeLibrary.${key}: expected null or ${digits} hex digits, received ${value}`)
  if ((commit === null) !== (tree === null))
    throw new Problem(
      `${place}: ComputeLibrary: expected commit and tree, or null for both, received ${commit} and ${tree}`,
      `set both to null, then: ${lockCommand}`,
    )
  for (const alternate of alternates)
    if (!/^[0-9a-f]{64}$/.test(alternate.sha256))
      throw new Problem(`${place}: alternate ${alternate.name}: expected a sha256, received ${alternate.sha256}`)
  return { ...lock, alternates, versions: checkVersions(versions, place) }
}

/**
 * Whether the lock names what is in a source: the digest of its files decides, not what a repository says of itself.
 * @param {Lock} lock
 * @param {{ digest: string, sha256?: string }} source
 */
export const isLocked = ({ tree, alternates }, { digest, sha256 }) =>
  digest === tree || alternates.some((one) => (one.tree ? one.tree === digest : one.sha256 === sha256))

/**
 * Writes the commit and digest of a source into the lock.
 * @param {import('./layout.mjs').Layout} layout
 * @param {{ commit: string, digest: string }} source
 * @returns {Promise<string>} the difference, for git apply too
 */
export async function recordSource(layout, { commit, digest }) {
  const name = layout.name(layout.lock)
  return beside(`${layout.lock}.before`, async (before) => {
    const text = await readFile(layout.lock, 'utf8')
    const content = JSON.parse(text)
    Object.assign(content.ComputeLibrary, { commit, tree: digest })
    await writeFile(before, text)
    await writeJson(layout.lock, content)
    const { stdout } = await gitOnFiles(path.dirname(before), ['diff', '--no-index', '--', before, layout.lock])
    return [`--- a/${name}`, `+++ b/${name}`, stdout.slice(stdout.indexOf('@@'))].join('\n')
  })
}
