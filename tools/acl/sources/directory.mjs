import path from 'node:path'
import { digestOfFiles, filesOf } from '../digest.mjs'
import { isLocked, lockCommand } from '../lock.mjs'
import { Problem } from '../problem.mjs'
import { versionOf } from './version.mjs'

/**
 * A source tree of the user's, used where it is and never changed. Known by the digest of its files alone: a repository in it is not
 * asked, since its configuration could start programs and its index and replacements hide what was changed.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @param {string} directory
 * @param {{ allowUnlocked?: boolean }} options
 * @returns {Promise<import('./record.mjs').Source>}
 */
export async function directorySource(layout, lock, directory, { allowUnlocked = false }) {
  const version = await versionOf(directory)
  const digest = digestOfFiles(await filesOf(directory))
  const locked = isLocked(lock, { digest })
  if (locked || allowUnlocked) {
    const commit = digest === lock.tree ? { commit: lock.commit ?? undefined } : {}
    return { kind: 'directory', version, directory: path.resolve(directory), digest, ...commit, locked }
  }
  const known = [
    lock.tree === null ? `${lock.tag} (once it is locked: ${lockCommand})` : `${lock.tag} (${lock.tree})`,
    ...lock.alternates.map(({ file, tree }) => `${file} (${tree})`),
  ]
  throw new Problem(
    `ACL_SOURCE ${directory}: ComputeLibrary ${version}, but not one that ${layout.name(layout.lock)} knows`,
    `expected the files of ${known.join(' or of ')}`,
    `received files with digest ${digest}`,
    'to use it all the same: --allow-unlocked',
  )
}
