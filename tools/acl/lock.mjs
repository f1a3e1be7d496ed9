import { readFile } from 'node:fs/promises'
import { Problem } from './problem.mjs'
import { writeJson } from './temporary.mjs'

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
 * @property {string | null} commit null until the first fetch has recorded it
 * @property {Alternate[]} alternates
 */

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
  if (lock.commit !== null && !/^[0-9a-f]{40}$/.test(lock.commit))
    throw new Problem(`${place}: ComputeLibrary.commit: expected null or 40 hex digits, received ${lock.commit}`)
  for (const alternate of lock.alternates ?? [])
    if (!/^[0-9a-f]{64}$/.test(alternate.sha256))
      throw new Problem(`${place}: alternate ${alternate.name}: expected a sha256, received ${alternate.sha256}`)
  return { ...lock, alternates: lock.alternates ?? [] }
}

/**
 * @param {import('./layout.mjs').Layout} layout
 * @param {string} commit
 */
export async function recordCommit(layout, commit) {
  const content = JSON.parse(await readFile(layout.lock, 'utf8'))
  content.ComputeLibrary.commit = commit
  await writeJson(layout.lock, content)
}
