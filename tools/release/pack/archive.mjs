import path from 'node:path'
import * as tar from 'tar'
import { fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'

/** Of every file in an archive: npm's own choice, so that nothing depends on when something was made. */
export const modified = new Date('1985-10-26T08:15:00.000Z')

/** @param {string} directory @returns {Promise<string[]>} relative paths of the files below, in one order everywhere */
export async function filesBelow(directory) {
  const entries = await fs.readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => !entry.isDirectory())
  return files.map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name))).sort()
}

/**
 * An archive whose bytes depend on the names and contents of the files alone.
 * @param {string} file to be written
 * @param {string} directory whose last part is the folder in the archive
 */
export async function createArchive(file, directory) {
  const [cwd, name] = [path.dirname(directory), path.basename(directory)]
  const files = await filesBelow(directory)
  for (const each of files) {
    const executable = each.endsWith('.node')
    await fs.chmod(path.join(directory, each), executable ? 0o755 : 0o644)
  }
  await fs.mkdirp(path.dirname(file))
  const options = { cwd, portable: true, mtime: modified, noPax: true, gzip: { level: 9, portable: true } }
  await tar.create(
    { ...options, file },
    files.map((each) => path.posix.join(name, ...each.split(path.sep))),
  )
}

/**
 * A text file in an archive.
 * @param {string} archive
 * @param {string} name
 */
export async function readEntry(archive, name) {
  /** @type {Buffer[]} */
  const chunks = []
  await tar.list({
    file: archive,
    filter: (path) => path === name,
    onReadEntry: (entry) => entry.on('data', (chunk) => chunks.push(chunk)),
  })
  if (chunks.length === 0) throw new Problem(`${archive}: no ${name}`)
  return Buffer.concat(chunks).toString()
}
