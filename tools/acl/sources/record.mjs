import { differences, digestOfFiles, few, filesOf } from '../digest.mjs'
import { isLocked } from '../lock.mjs'
import { Problem } from '../problem.mjs'
import { readJson, writeJson } from '../temporary.mjs'

/**
 * A pristine source tree.
 * @typedef {object} Source
 * @property {'git' | 'debian' | 'tarball' | 'directory'} kind
 * @property {string} version
 * @property {string} directory
 * @property {string} digest of all its files
 * @property {string} [commit]
 * @property {string} [sha256] of the tarball
 * @property {boolean} locked whether the lock names what is in it
 */

/**
 * Writes down what a pristine tree consists of. Whether it is locked is for each lock to say.
 * @param {string} file
 * @param {Source} source
 * @param {Record<string, string>} files
 */
export const writeRecord = (file, { directory, locked, ...facts }, files) => writeJson(file, { ...facts, files })

/**
 * What was written down, checked against the tree; undefined when nothing was.
 * @param {import('../lock.mjs').Lock} lock
 * @param {string} file
 * @param {string} directory
 * @param {string} place of the tree, for messages
 * @returns {Promise<Source | undefined>}
 */
export async function readRecord(lock, file, directory, place) {
  const record = await readJson(file)
  if (!record) return undefined
  const { files, ...facts } = record
  const now = await filesOf(directory)
  if (digestOfFiles(now) !== facts.digest)
    throw new Problem(
      `${place} was edited: ${few(differences(files, now))}`,
      `changes belong into a patch (patch, then refresh); to get the source as it was: remove ${place} and run fetch`,
    )
  return { ...facts, directory, locked: isLocked(lock, facts) }
}
