import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { $ } from 'zx/core'
import { digestOfFile, digestOfFiles, filesOf } from '../digest.mjs'
import { isLocked } from '../lock.mjs'
import { Problem, saysDiskFull } from '../problem.mjs'
import { whole } from '../temporary.mjs'
import { readRecord, writeRecord } from './record.mjs'
import { versionOf } from './version.mjs'

/**
 * The directory in an unpacked tarball that is the source.
 * @param {string} directory
 * @param {string} place
 */
async function topOf(directory, place) {
  const names = await readdir(directory)
  for (const top of ['.', ...(names.length === 1 ? names : [])])
    if (existsSync(path.join(directory, top, 'SConstruct'))) return path.join(directory, top)
  throw new Problem(`${place}: expected a ComputeLibrary source tree, found no SConstruct in it`)
}

/**
 * The source in a tarball, unpacked once for each digest.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @param {string} file
 * @param {{ say: (text: string) => void, allowUnlocked?: boolean }} options
 */
export async function tarballSource(layout, lock, file, { say, allowUnlocked = false }) {
  const sha256 = await digestOfFile(file)
  const alternate = lock.alternates.find((one) => one.sha256 === sha256)
  if (!alternate && !allowUnlocked)
    throw new Problem(
      `${file}: not a tarball that ${layout.name(layout.lock)} knows`,
      `expected one of ${lock.alternates.map(({ file, sha256 }) => `${file} (sha256 ${sha256})`).join(', ') || 'none'}`,
      `received sha256 ${sha256}`,
      'to use it all the same: --allow-unlocked',
    )
  const place = path.join(layout.sources, sha256.slice(0, 16))
  const tree = path.join(place, 'tree')
  const checkDigest = (digest) => {
    if (alternate?.tree && digest !== alternate.tree)
      throw new Problem(`${file}: digest of the unpacked files: expected ${alternate.tree}, received ${digest}`)
  }
  const known = await readRecord(lock, path.join(place, 'source.json'), tree, layout.name(tree))
  if (known) {
    checkDigest(known.digest)
    return known
  }
  say(`unpacking ${path.basename(file)}`)
  return whole(place, async (partial) => {
    const unpacked = path.join(partial, 'unpacked')
    await mkdir(unpacked, { recursive: true })
    const done = await $({ nothrow: true, quiet: true })`tar -xf ${path.resolve(file)} -C ${unpacked} --no-same-owner`
    if (saysDiskFull(done.stderr)) throw new Problem(`the disk is full: unpacking ${file}`)
    if (done.exitCode !== 0)
      throw new Problem(`${file}: tar could not unpack it`, done.stderr.trim(), 'for .tar.xz, xz is needed (xz-utils)')
    await rename(await topOf(unpacked, file), path.join(partial, 'tree'))
    await rm(unpacked, { recursive: true, force: true })
    const version = await versionOf(path.join(partial, 'tree'))
    if (alternate && version !== alternate.version)
      throw new Problem(`${file}: version: expected ${alternate.version}, received ${version}`)
    const files = await filesOf(path.join(partial, 'tree'))
    const digest = digestOfFiles(files)
    checkDigest(digest)
    /** @type {import('./record.mjs').Source} */
    const source = {
      kind: alternate?.name === 'debian' ? 'debian' : 'tarball',
      ...{ version, directory: tree, digest, sha256, locked: isLocked(lock, { digest, sha256 }) },
    }
    await writeRecord(path.join(partial, 'source.json'), source, files)
    return source
  })
}
