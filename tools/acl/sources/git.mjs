import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { differences, digestOfFiles, few, filesOf, gitNameOf, isApart } from '../digest.mjs'
import { git } from '../git.mjs'
import { isLocked } from '../lock.mjs'
import { Problem, saysDiskFull, Unavailable } from '../problem.mjs'
import { beside, whole } from '../temporary.mjs'
import { readRecord, writeRecord } from './record.mjs'
import { versionOf } from './version.mjs'

const otherwise =
  'without network: ACL_SOURCE=DIRECTORY or ACL_SOURCE=TARBALL names a source, ACL_SOURCE=debian takes the one of Debian'

/** @param {import('../layout.mjs').Layout} layout */
const recordOf = (layout) => `${layout.checkout}.json`

/**
 * The commit of a fresh clone, whose files are those of the commit.
 * @param {string} directory
 * @param {Record<string, string>} files
 */
async function commitOf(directory, files) {
  const [head, tree] = await Promise.all([
    git(directory, ['rev-parse', '--verify', 'HEAD^{commit}']),
    git(directory, ['ls-tree', '-r', '-z', '--full-tree', 'HEAD']),
  ])
  for (const { exitCode, stderr } of [head, tree])
    if (exitCode !== 0) throw new Problem('git cannot read what it has cloned', stderr.trim())
  /** @type {Record<string, string>} */
  const committed = {}
  for (const entry of tree.stdout.split('\0').filter(Boolean)) {
    const [, mode, kind, name, file] = entry.match(/^(\d+) (\w+) (\w+)\t(.*)$/s) ?? []
    if (kind === 'blob' && !isApart(file)) committed[file] = `${mode} ${name}`
  }
  /** @type {Record<string, string>} */
  const present = {}
  for (const [file, state] of Object.entries(files)) present[file] = await gitNameOf(path.join(directory, file), state)
  const changed = differences(committed, present)
  if (changed.length)
    throw new Problem(
      `git has not checked out what the commit has: ${few(changed)}`,
      'does the file system of this checkout take links, and names that differ by case alone?',
    )
  return head.stdout.trim()
}

/**
 * Throws a Problem when a source is not the one of the lock.
 * @param {import('../lock.mjs').Lock} lock
 * @param {{ version: string, digest: string, commit?: string }} source
 * @param {string} place
 * @param {string} [remedy]
 */
function checkLocked(lock, { version, digest, commit }, place, remedy = '') {
  if (version !== lock.version)
    throw new Problem(`${place}: version: expected ${lock.version}, received ${version}`, remedy)
  if (lock.commit !== null && commit !== lock.commit)
    throw new Problem(`${place}: commit of ${lock.tag}: expected ${lock.commit}, received ${commit}`, remedy)
  if (lock.tree !== null && digest !== lock.tree)
    throw new Problem(`${place}: digest of the files: expected ${lock.tree}, received ${digest}`, remedy)
}

/**
 * What third_party/ComputeLibrary has, verified; undefined when it is not there.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @returns {Promise<import('./record.mjs').Source | undefined>}
 */
export async function presentCheckout(layout, lock) {
  const { checkout } = layout
  if (!existsSync(checkout)) return undefined
  const place = layout.name(checkout)
  const remedy = `remove ${place} and run fetch`
  const known = await readRecord(lock, recordOf(layout), checkout, place)
  if (known) {
    checkLocked(lock, known, place, remedy)
    return known
  }
  if (lock.commit === null)
    throw new Problem(
      `${place}: not put there by fetch, and ${layout.name(layout.lock)} has no digest yet to know it by`,
      `${remedy}, or move it away and name it: ACL_SOURCE`,
    )
  const files = await filesOf(checkout)
  const facts = { version: await versionOf(checkout), digest: digestOfFiles(files), commit: lock.commit }
  checkLocked(lock, facts, place, remedy)
  /** @type {import('./record.mjs').Source} */
  const source = { kind: 'git', ...facts, directory: checkout, locked: true }
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

/** Attributes that go before all others: files as the commit has them, on every machine. */
const asCommitted = '* -text !eol !ident !filter !working-tree-encoding\n'

/**
 * The tag of the lock, into third_party/ComputeLibrary.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @returns {Promise<import('./record.mjs').Source>}
 */
async function clone(layout, lock) {
  await rm(recordOf(layout), { force: true })
  const shown = process.stderr.isTTY
  const { facts, files } = await beside(path.join(layout.sources, 'template'), async (template) => {
    await mkdir(path.join(template, 'info'), { recursive: true })
    await writeFile(path.join(template, 'info/attributes'), asCommitted)
    return whole(layout.checkout, async (partial) => {
      const args = [
        // A connection that has all but stopped is given up after a minute.
        ...['-c', 'http.lowSpeedLimit=1000', '-c', 'http.lowSpeedTime=60', '-c', 'advice.detachedHead=false'],
        ...['clone', shown ? '--progress' : '--quiet', `--template=${template}`, '--depth', '1', '--single-branch'],
        ...['--branch', lock.tag],
      ]
      const cloned = await git(layout.root, [...args, lock.git, partial], { shown })
      if (cloned.exitCode !== 0) throw cloneFailure(lock, cloned.stderr)
      const files = await filesOf(partial)
      const commit = await commitOf(partial, files)
      const facts = { version: await versionOf(partial), digest: digestOfFiles(files), commit }
      checkLocked(lock, facts, lock.git)
      return { facts, files }
    })
  })
  /** @type {import('./record.mjs').Source} */
  const source = { kind: 'git', ...facts, directory: layout.checkout, locked: isLocked(lock, facts) }
  await writeRecord(recordOf(layout), source, files)
  return source
}

/**
 * The tag of the lock in third_party/ComputeLibrary, cloned when it is not there.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @param {{ say: (text: string) => void }} options
 */
export async function gitSource(layout, lock, { say }) {
  const present = await presentCheckout(layout, lock)
  if (present) return present
  say(`fetching ComputeLibrary ${lock.tag} from ${lock.git}`)
  return clone(layout, lock)
}
