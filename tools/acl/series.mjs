import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { digestOf } from './digest.mjs'
import { Problem } from './problem.mjs'

/**
 * @typedef {object} Hunk
 * @property {string} header the line of the `@@`
 * @property {string[]} lines with their first character: space, `-`, `+`, or the backslash of a missing newline
 */

/**
 * What a patch does to one file.
 * @typedef {object} Section
 * @property {string} file
 * @property {'new' | 'changed' | 'deleted'} kind
 * @property {string} text
 * @property {Hunk[]} hunks
 */

/**
 * Text is latin1: bytes go through as they are.
 * @typedef {object} Patch
 * @property {string} name
 * @property {string} header free text above the first file
 * @property {string} text
 * @property {Section[]} sections
 */

/**
 * @param {string[]} lines
 * @param {(what: string) => Problem} wrong
 * @returns {Section}
 */
function parseSection(lines, wrong) {
  const [, a, b] = lines[0].match(/^diff --git a\/(\S+) b\/(\S+)$/) ?? []
  if (!a || a !== b) throw wrong(`expected "diff --git a/FILE b/FILE", one file without spaces, received "${lines[0]}"`)
  if (a.split('/').some((part) => part === '..' || part === '.' || part === '' || part === '.git'))
    throw wrong(`${a}: not a path inside the tree`)
  /** @type {Section} */
  const section = { file: a, kind: 'changed', text: lines.join('\n'), hunks: [] }
  let at = 1
  for (; at < lines.length && !lines[at].startsWith('@@'); at += 1) {
    const line = lines[at]
    if (line.startsWith('new file mode ')) section.kind = 'new'
    else if (line.startsWith('deleted file mode ')) section.kind = 'deleted'
    else if (!/^(index |--- |\+\+\+ )/.test(line)) throw wrong(`${a}: "${line}" is not supported`)
  }
  while (at < lines.length && lines[at] !== '') {
    const header = lines[at]
    const numbers = header.match(/^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/)
    if (!numbers) throw wrong(`${a}: expected a hunk, received "${header}"`)
    let [before, after] = [Number(numbers[1] ?? 1), Number(numbers[2] ?? 1)]
    /** @type {Hunk} */
    const hunk = { header, lines: [] }
    for (at += 1; at < lines.length; at += 1) {
      const kind = lines[at][0]
      if (kind !== '\\' && before <= 0 && after <= 0) break
      if (kind === undefined || !' +-\\'.includes(kind)) break
      if (kind === ' ' || kind === '-') before -= 1
      if (kind === ' ' || kind === '+') after -= 1
      hunk.lines.push(lines[at])
    }
    if (before !== 0 || after !== 0)
      throw wrong(`${a}: hunk ${section.hunks.length + 1} is not as long as its first line says`)
    section.hunks.push(hunk)
  }
  if (lines.slice(at).some((line) => line !== '')) throw wrong(`${a}: unexpected text below the last hunk`)
  if (section.hunks.length === 0) throw wrong(`${a}: nothing is changed`)
  return section
}

/**
 * @param {string} name
 * @param {string} text
 * @returns {Patch}
 */
export function parsePatch(name, text) {
  const lines = text.split('\n')
  const starts = lines.flatMap((line, at) => (line.startsWith('diff --git ') ? [at] : []))
  const header = lines.slice(0, starts[0] ?? lines.length).join('\n')
  const sections = starts.map((start, i) => {
    const part = lines.slice(start, starts[i + 1])
    while (part.at(-1) === '') part.pop()
    return parseSection(part, (what) => new Problem(`${name}: ${what}`))
  })
  return { name, header: starts.length ? `${header}\n` : text, text, sections }
}

/**
 * @param {string} header
 * @param {Section[]} sections
 */
export const patchText = (header, sections) =>
  header +
  [...sections]
    .sort((a, b) => (a.file < b.file ? -1 : 1))
    .map(({ text }) => `${text}\n`)
    .join('')

/**
 * Which files in the patches are copies of files of this repository.
 * @param {import('./layout.mjs').Layout} layout
 * @returns {Promise<{ from: string, to: string }[]>}
 */
export async function readCopyList(layout) {
  const file = path.join(layout.patches, 'copies.json')
  const place = layout.name(file)
  try {
    const entries = JSON.parse(await readFile(file, 'utf8'))
    if (Array.isArray(entries) && entries.every(({ from, to }) => typeof from === 'string' && typeof to === 'string'))
      return entries
  } catch (error) {
    if (error.code === 'ENOENT') return []
    throw new Problem(`${place}: ${error.message}`)
  }
  throw new Problem(`${place}: expected a list of { "from": FILE, "to": FILE }`)
}

/**
 * The patches of the series in their order. No file is in two of them.
 * @param {import('./layout.mjs').Layout} layout
 */
export async function readSeries(layout) {
  const place = layout.name(path.join(layout.patches, 'series'))
  const read = async (name) => {
    try {
      return await readFile(path.join(layout.patches, name), 'latin1')
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
      throw new Problem(name === 'series' ? `${place}: not found` : `${place}: names ${name}, which is not there`)
    }
  }
  const names = (await read('series'))
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter(Boolean)
  const patches = await Promise.all(names.map(async (name) => parsePatch(name, await read(name))))
  /** @type {Map<string, string>} */
  const owners = new Map()
  for (const { name, sections } of patches)
    for (const { file } of sections) {
      if (owners.has(file)) throw new Problem(`${file}: in two patches, ${owners.get(file)} and ${name}`)
      owners.set(file, name)
    }
  const digest = digestOf(
    patches.map(({ name, text }) => `${name}\0${digestOf(Buffer.from(text, 'latin1'))}\n`).join(''),
  )
  // Without free text, and without what a patch carries along: what an export must not lose.
  const carried = new Set((await readCopyList(layout)).map(({ to }) => to))
  const changes = digestOf(
    patches
      .flatMap(({ sections }) => sections.flatMap(({ file, text }) => (carried.has(file) ? [] : [text])))
      .join('\n'),
  )
  return { patches, owners, digest, changes }
}

/** @typedef {Awaited<ReturnType<typeof readSeries>>} Series */

/**
 * The lines that a hunk expects, or those it leaves.
 * @param {Hunk} hunk
 * @param {'before' | 'after'} side
 */
export const linesOf = (hunk, side) =>
  hunk.lines
    .filter((line) => line[0] === ' ' || line[0] === (side === 'before' ? '-' : '+'))
    .map((line) => line.slice(1))

/**
 * At which lines (counted from 0) a run of lines stands in a file.
 * @param {string[]} lines of the file
 * @param {string[]} wanted
 */
export function placesOf(lines, wanted) {
  const places = []
  for (let at = lines.indexOf(wanted[0]); at !== -1; at = lines.indexOf(wanted[0], at + 1))
    if (wanted.every((line, i) => lines[at + i] === line)) places.push(at)
  return places
}
