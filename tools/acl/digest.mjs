import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat, readdir, readFile, readlink } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'

/** @param {string | Buffer} content */
export const digestOf = (content) => createHash('sha256').update(content).digest('hex')

/** @param {string} file */
export async function digestOfFile(file) {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

/** What git and scons leave at the top of a tree, which is no part of the source. */
const apart = new Set(['.git', 'build', '.sconf_temp', 'config.log'])

/**
 * Whether something in a tree is no part of the source: what git and scons leave, and what Finder writes wherever it looks.
 * @param {string} name its path in the tree
 */
export function isApart(name) {
  const [top] = name.split('/')
  return apart.has(top) || top.startsWith('.scons') || path.basename(name) === '.DS_Store'
}

/**
 * The files of a source tree: path to mode and content, in the order of their paths.
 * @param {string} root
 * @returns {Promise<Record<string, string>>}
 */
export async function filesOf(root) {
  /** @type {string[]} */
  const found = []
  /** @param {string} directory */
  async function walk(directory) {
    for (const entry of await readdir(path.join(root, directory), { withFileTypes: true })) {
      const name = directory ? `${directory}/${entry.name}` : entry.name
      if (isApart(name)) continue
      if (entry.isDirectory()) await walk(name)
      else found.push(name)
    }
  }
  await walk('')
  found.sort()
  /** @type {Record<string, string>} */
  const files = {}
  for (const name of found) {
    const file = path.join(root, name)
    const status = await lstat(file)
    if (status.isSymbolicLink()) files[name] = `120000 ${digestOf(await readlink(file))}`
    else files[name] = `${status.mode & 0o100 ? '100755' : '100644'} ${digestOf(await readFile(file))}`
  }
  return files
}

/**
 * One digest of all files.
 * @param {Record<string, string>} files
 */
export const digestOfFiles = (files) =>
  digestOf(
    Object.entries(files)
      .map(([name, state]) => `${name}\0${state}\n`)
      .join(''),
  )

/**
 * The paths at which two trees differ.
 * @param {Record<string, string>} before
 * @param {Record<string, string>} after
 */
export function differences(before, after) {
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].filter((name) => before[name] !== after[name]).sort()
}

/**
 * A list for a message, cut where it gets long.
 * @param {string[]} names
 */
export const few = (names) =>
  names.length <= 5 ? names.join(', ') : `${names.slice(0, 4).join(', ')} and ${names.length - 4} more`
