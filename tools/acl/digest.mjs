import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat, readdir, readFile, readlink } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Problem } from './problem.mjs'

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
 * The files of a source tree: path to mode and content, in the order of their paths. What is built from the tree is in them: a link
 * that leads out of it, and what is neither file, folder nor link, is a Problem.
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
      else if (entry.isFile() || entry.isSymbolicLink()) found.push(name)
      else throw new Problem(`${path.join(root, name)}: expected a file, a folder or a link`)
    }
  }
  await walk('')
  found.sort()
  /** @type {Record<string, string>} */
  const files = {}
  for (const name of found) {
    const file = path.join(root, name)
    const status = await lstat(file)
    if (status.isSymbolicLink()) {
      const to = await readlink(file)
      if (path.isAbsolute(to) || path.normalize(path.join(name, '..', to)).split(path.sep)[0] === '..')
        throw new Problem(`${file}: expected a link to a place in ${root}, received one to ${to}`)
      files[name] = `120000 ${digestOf(to)}`
    } else files[name] = `${status.mode & 0o100 ? '100755' : '100644'} ${digestOf(await readFile(file))}`
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
 * The name that git has for a file of `filesOf`: its mode and the digest of its content.
 * @param {string} file
 * @param {string} state of it in `filesOf`
 */
export async function gitNameOf(file, state) {
  const mode = state.slice(0, 6)
  const content = Buffer.from(mode === '120000' ? await readlink(file) : await readFile(file))
  const name = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
  return `${mode} ${name}`
}

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
