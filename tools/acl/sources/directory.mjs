import { existsSync } from 'node:fs'
import path from 'node:path'
import { digestOfFiles, filesOf } from '../digest.mjs'
import { Problem } from '../problem.mjs'
import { cleanCommit } from './git.mjs'
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
  const place = `ACL_SOURCE ${directory}`
  const commit = existsSync(path.join(directory, '.git')) ? await cleanCommit(directory, place) : undefined
  const locked = commit === lock.commit || lock.alternates.some(({ tree }) => tree === digest)
  if (locked || allowUnlocked)
    return { kind: 'directory', version, directory: path.resolve(directory), digest, commit, locked }
  const known =
    lock.commit === null ? `${lock.tag} (whose commit the first fetch without ACL_SOURCE records)` : lock.tag
  throw new Problem(
    `${place}: ComputeLibrary ${version}, but not one that ${layout.name(layout.lock)} knows`,
    `expected a checkout of ${known}${lock.alternates.map((one) => `, or the files of ${one.file}`).join('')}`,
    `received ${commit ? `commit ${commit}` : `files with digest ${digest}`}`,
    'to use it all the same: --allow-unlocked',
  )
}
