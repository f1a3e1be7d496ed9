import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { digestOfFiles, few, filesOf, isApart } from '../digest.mjs'
import { git } from '../git.mjs'
import { recordCommit } from '../lock.mjs'
import { Problem, Unavailable } from '../problem.mjs'
import { whole } from '../temporary.mjs'
import { readRecord, writeRecord } from './record.mjs'
import { versionOf } from './version.mjs'

const otherwise =
  'without network: ACL_SOURCE=DIRECTORY or ACL_SOURCE=TARBALL names a source, ACL_SOURCE=debian takes the one of Debian'

/** @param {import('../layout.mjs').Layout} layout */
const recordOf = (layout) => `${layout.checkout}.json`

/**
 * The commit of a checkout without changes.
 * @param {string} directory
 * @param {string} place for messages
 */
export async function cleanCommit(directory, place) {
  const head = await git(directory, ['rev-parse', 'HEAD'])
  if (head.exitCode !== 0) throw new Problem(`${place}: git rev-parse HEAD failed`, head.stderr.trim())
  const status = await git(directory, ['status', '--porcelain', '--untracked-files=all', '--ignored=traditional'])
  if (status.exitCode !== 0) throw new Problem(`${place}: git status failed`, status.stderr.trim())
  const changed = status.stdout
    .split('\n')
    .map((line) => line.slice(3))
    .filter((name) => name && !isApart(name.split('/')[0]))
  if (changed.length)
    throw new Problem(
      `${place} was edited: ${few(changed)}`,
      'a source must be as its commit has it: git stash or git clean',
    )
  return head.stdout.trim()
}

/**
 * @param {import('../lock.mjs').Lock} lock
 * @param {string} commit
 * @param {string} place
 */
export function checkCommit(lock, commit, place) {
  if (lock.commit !== null && commit !== lock.commit)
    throw new Problem(`${place}: commit of ${lock.tag}: expected ${lock.commit}, received ${commit}`)
}

/**
 * @param {import('../lock.mjs').Lock} lock
 * @param {string} directory
 * @param {string} place
 */
async function checked(lock, directory, place) {
  const commit = await cleanCommit(directory, place)
  checkCommit(lock, commit, place)
  const version = await versionOf(directory)
  if (version !== lock.version) throw new Problem(`${place}: version: expected ${lock.version}, received ${version}`)
  const files = await filesOf(directory)
  /** @type {import('./record.mjs').Source} */
  const source = { kind: 'git', version, directory, digest: digestOfFiles(files), commit, locked: true }
  return { source, files, commit }
}

/**
 * What third_party/ComputeLibrary has, verified; undefined when it is not there.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 */
export async function presentCheckout(layout, lock) {
  const { checkout } = layout
  if (!existsSync(checkout)) return undefined
  const place = layout.name(checkout)
  const known = await readRecord(recordOf(layout), checkout, place)
  if (known) {
    checkCommit(lock, known.commit ?? '', place)
    return known
  }
  if (!existsSync(path.join(checkout, '.git')))
    throw new Problem(`${place}: not put there by fetch, and not a git checkout`, 'remove it, or name it: ACL_SOURCE')
  const { source, files } = await checked(lock, checkout, place)
  await writeRecord(recordOf(layout), source, files)
  return source
}

/**
 * The tag of the lock in third_party/ComputeLibrary, cloned when it is not there.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @param {{ say: (text: string) => void }} options
 * @returns {Promise<import('./record.mjs').Source>}
 */
export async function gitSource(layout, lock, { say }) {
  const present = await presentCheckout(layout, lock)
  if (present) return present
  await rm(recordOf(layout), { force: true })
  say(`fetching ComputeLibrary ${lock.tag} from ${lock.git}`)
  const { source, files, commit } = await whole(layout.checkout, async (partial) => {
    const cloned = await git(layout.root, [
      ...['-c', 'advice.detachedHead=false', 'clone', '--quiet', '--depth', '1', '--single-branch'],
      ...['--branch', lock.tag, lock.git, partial],
    ])
    if (cloned.exitCode !== 0) throw new Unavailable(`git clone of ${lock.tag} failed`, cloned.stderr.trim(), otherwise)
    return checked(lock, partial, lock.git)
  })
  const kept = { ...source, directory: layout.checkout }
  await writeRecord(recordOf(layout), kept, files)
  if (lock.commit === null) {
    await recordCommit(layout, commit)
    say(`recorded commit ${commit} of ${lock.tag} in ${layout.name(layout.lock)}: commit that file`)
  }
  return kept
}
