import { existsSync } from 'node:fs'
import path from 'node:path'
import { digestOfFiles, filesOf } from '../digest.mjs'
import { Problem } from '../problem.mjs'
import { checkCommit, cleanCommit } from './git.mjs'
import { versionOf } from './version.mjs'

/**
 * A source tree of the user's, used where it is and never changed.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @param {string} directory
 * @param {{ allowUnlocked?: boolean }} options
 * @returns {Promise<import('./record.mjs').Source>}
 */
export async function directorySource(layout, lock, directory, { allowUnlocked = false }) {
  const version = await versionOf(directory)
  const digest = digestOfFiles(await filesOf(directory))
  const source = { kind: /** @type {const} */ ('directory'), version, directory: path.resolve(directory), digest }
  const place = `ACL_SOURCE ${directory}`
  if (existsSync(path.join(directory, '.git'))) {
    const commit = await cleanCommit(directory, place)
    if (version === lock.version) {
      checkCommit(lock, commit, place)
      return { ...source, commit, locked: lock.commit !== null }
    }
    if (allowUnlocked) return { ...source, commit, locked: false }
  } else if (lock.alternates.some(({ tree }) => tree === digest)) return { ...source, locked: true }
  if (allowUnlocked) return { ...source, locked: false }
  throw new Problem(
    `${place}: ComputeLibrary ${version}, but not one that ${layout.name(layout.lock)} knows`,
    `expected a checkout of ${lock.tag}${lock.alternates.map((one) => `, or the files of ${one.file}`).join('')}`,
    `received files with digest ${digest}`,
    'to use it all the same: --allow-unlocked',
  )
}
