import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { digestOfFiles, few, filesOf, isApart } from '../digest.mjs'
import { git } from '../git.mjs'
import { recordCommit } from '../lock.mjs'
import { Problem, saysDiskFull, Unavailable } from '../problem.mjs'
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
    .filter((name) => name && !isApart(name))
  if (changed.length)
    throw new Problem(
      `${place} was edited: ${few(changed)}`,
      'a source must be as its commit has it: git stash or git clean',
    )
  return head.stdout.trim()
}

/**
 * Throws a Problem when a source is not the one of the lock.
 * @param {import('../lock.mjs').Lock} lock
 * @param {{ version: string, commit?: string }} source
 * @param {string} place
 * @param {string} [remedy]
 */
function checkLocked(lock, { version, commit }, place, remedy = '') {
  if (version !== lock.version)
    throw new Problem(`${place}: version: expected ${lock.version}, received ${version}`, remedy)
  if (lock.commit !== null && commit !== lock.commit)
    throw new Problem(`${place}: commit of ${lock.tag}: expected ${lock.commit}, received ${commit}`, remedy)
}

/**
 * @param {import('../lock.mjs').Lock} lock
 * @param {string} directory
 * @param {string} place
 * @param {string} [remedy]
 */
async function checked(lock, directory, place, remedy) {
  const commit = await cleanCommit(directory, place)
  const version = await versionOf(directory)
  checkLocked(lock, { version, commit }, place, remedy)
  const files = await filesOf(directory)
  /** @type {import('./record.mjs').Source} */
  const source = { kind: 'git', version, directory, digest: digestOfFiles(files), commit, locked: true }
  return { source, files }
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
  const remedy = `remove ${place} and run fetch`
  const known = await readRecord(recordOf(layout), checkout, place)
  if (known) {
    checkLocked(lock, known, place, remedy)
    return known
  }
  if (!existsSync(path.join(checkout, '.git')))
    throw new Problem(`${place}: not put there by fetch, and not a git checkout`, 'remove it, or name it: ACL_SOURCE')
  if (lock.commit === null)
    throw new Problem(
      `${place}: not put there by fetch, and ${layout.name(layout.lock)} has no commit yet to know it by`,
      `${remedy}, or move it away and name it: ACL_SOURCE`,
    )
  const { source, files } = await checked(lock, checkout, place, remedy)
  await writeRecord(recordOf(layout), source, files)
  return source
}

/** What git says where the network or the server fails it. */
const unreachable =
  /could not resolve|failed to connect|connection (refused|reset|timed out)|unable to access|too slow|RPC failed|early EOF|disconnect|could not read from remote/i

/**
 * @param {import('../lock.mjs').Lock} lock
 * @param {string} stderr
 */
function cloneFailure(lock, stderr) {
  const said = stderr.split(/[\r\n]+/).filter((line) => /^(fatal|error|remote): (?!.*\d% )/.test(line))
  const what = `git clone of ${lock.tag} failed`
  if (saysDiskFull(stderr)) return new Problem(`${what}: the disk is full`)
  if (unreachable.test(stderr)) return new Unavailable(what, ...said, otherwise)
  return new Problem(what, ...said)
}

/**
 * The tag of the lock, into third_party/ComputeLibrary.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @returns {Promise<import('./record.mjs').Source>}
 */
async function clone(layout, lock) {
  await rm(recordOf(layout), { force: true })
  const shown = process.stderr.isTTY
  const { source, files } = await whole(layout.checkout, async (partial) => {
    const args = [
      // A connection that has all but stopped is given up after a minute.
      ...['-c', 'http.lowSpeedLimit=1000', '-c', 'http.lowSpeedTime=60', '-c', 'advice.detachedHead=false'],
      ...['clone', shown ? '--progress' : '--quiet', '--depth', '1', '--single-branch', '--branch', lock.tag],
    ]
    const cloned = await git(layout.root, [...args, lock.git, partial], { shown })
    if (cloned.exitCode !== 0) throw cloneFailure(lock, cloned.stderr)
    return checked(lock, partial, lock.git)
  })
  const kept = { ...source, directory: layout.checkout }
  await writeRecord(recordOf(layout), kept, files)
  return kept
}

/**
 * The tag of the lock in third_party/ComputeLibrary, cloned when it is not there.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @param {{ say: (text: string) => void }} options
 */
export async function gitSource(layout, lock, { say }) {
  let source = await presentCheckout(layout, lock)
  if (!source) {
    say(`fetching ComputeLibrary ${lock.tag} from ${lock.git}`)
    source = await clone(layout, lock)
  }
  if (lock.commit === null && source.commit) {
    await recordCommit(layout, source.commit)
    say(`recorded commit ${source.commit} of ${lock.tag} in ${layout.name(layout.lock)}: commit that file`)
  }
  return source
}
