import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { contentOf } from './copies.mjs'
import { differences, filesOf } from './digest.mjs'
import { gitOnFiles } from './git.mjs'
import { Problem } from './problem.mjs'
import { linesOf, parsePatch, patchText, placesOf } from './series.mjs'
import { whole } from './temporary.mjs'

/**
 * @param {string} file
 * @param {string} content
 * @param {string} mode
 */
export function newFile(file, content, mode = '100644') {
  const lines = content.split('\n')
  const ended = lines.at(-1) === ''
  if (ended) lines.pop()
  if (lines.length === 0) throw new Problem(`${file}: is empty; a patch cannot say that to every tool`)
  const text = [
    `diff --git a/${file} b/${file}`,
    `new file mode ${mode}`,
    '--- /dev/null',
    `+++ b/${file}`,
    `@@ -0,0 +1${lines.length === 1 ? '' : `,${lines.length}`} @@`,
    ...lines.map((line) => `+${line}`),
    ...(ended ? [] : ['\\ No newline at end of file']),
  ].join('\n')
  return parsePatch(file, `${text}\n`).sections[0]
}

/**
 * The difference of one file with the fewest lines of context, at least one, with which every hunk's lines are in the
 * file just once: it then applies to other versions at whatever line, and nowhere else.
 * @param {string} file
 * @param {string} before the source
 * @param {string} after the tree
 */
async function difference(file, before, after) {
  const exists = existsSync(path.join(after, file))
  const lines = (await readFile(path.join(before, file), 'latin1')).split('\n')
  for (let context = 1; context <= 12; context += 1) {
    const { exitCode, stdout, stderr } = await gitOnFiles(before, [
      ...['diff', '--no-index', '--no-color', '--no-ext-diff', '--no-renames', '--text', `-U${context}`, '--'],
      ...[path.resolve(before, file), exists ? path.resolve(after, file) : '/dev/null'],
    ])
    if (exitCode !== 1) throw new Problem(`git diff of ${file} failed`, stderr.trim())
    const bytes = Buffer.from(stdout).toString('latin1')
    const hunks = bytes.slice(bytes.indexOf('\n@@') + 1).replace(/^(@@ .*? @@).*$/gm, '$1')
    const head = exists
      ? [`--- a/${file}`, `+++ b/${file}`]
      : ['deleted file mode 100644', `--- a/${file}`, '+++ /dev/null']
    const [section] = parsePatch(file, [`diff --git a/${file} b/${file}`, ...head, hunks].join('\n')).sections
    if (section.hunks.every((hunk) => placesOf(lines, linesOf(hunk, 'before')).length === 1)) return section
  }
  throw new Problem(`${file}: a change stands between lines that are there more than once; it needs another place`)
}

/** @param {string} text */
const withoutNumbers = (text) => text.replace(/^@@ .*? @@.*$/gm, '@@')

/**
 * What the patches are when the tree is to be their result: name to text, for those that change. Line numbers alone are no
 * change, so that a series exported from one version of the source is the same exported from another.
 * @param {object} options
 * @param {string} options.source the pristine tree
 * @param {string} options.tree the edited one
 * @param {import('./series.mjs').Series} options.series
 * @param {Map<string, { from: string, content: string }>} options.copies
 * @param {Record<string, string>} [options.made] the tree's files before it was edited
 * @param {string} [options.into] the patch for files that are in none
 */
export async function exportSeries({ source, tree, series, copies, made, into }) {
  const [before, after] = await Promise.all([filesOf(source), filesOf(tree)])
  if (into !== undefined && !series.patches.some(({ name }) => name === into))
    throw new Problem(`--into: expected one of ${series.patches.map(({ name }) => name).join(', ')}, received ${into}`)
  const changed = new Set([...differences(before, after), ...copies.keys()])
  const homeless = [...changed].filter((file) => !series.owners.has(file))
  if (homeless.length && into === undefined)
    throw new Problem(
      `in no patch yet: ${homeless.join(', ')}`,
      `give the patch for them: --into ${series.patches.map(({ name }) => name).join('|')}`,
    )
  const old = new Map(series.patches.flatMap(({ sections }) => sections.map((section) => [section.file, section])))
  /** @type {Map<string, import('./series.mjs').Section[]>} */
  const sections = new Map(series.patches.map(({ name }) => [name, []]))
  for (const file of [...changed].sort()) {
    const [was, is] = [before[file]?.slice(0, 6), after[file]?.slice(0, 6)]
    const copy = copies.get(file)
    if (/\s/.test(file)) throw new Problem(`${file}: a name with spaces cannot be in a patch here`)
    if (was === '120000' || is === '120000') throw new Problem(`${file}: a symbolic link cannot be in a patch here`)
    let section
    if (copy) {
      const carried = old.get(file)
      const there = is && (await readFile(path.join(tree, file), 'latin1'))
      const untouched = [copy.content, carried && contentOf(carried)].includes(there) || made?.[file] === after[file]
      if (there && !untouched) throw new Problem(`${file} was edited in the tree, but it is a copy: edit ${copy.from}`)
      section = newFile(file, copy.content)
    } else if (!was) section = newFile(file, await readFile(path.join(tree, file), 'latin1'), is)
    else if (is && was !== is)
      throw new Problem(`${file}: its mode changed from ${was} to ${is}; expected content only`)
    else section = await difference(file, source, tree)
    sections.get(series.owners.get(file) ?? /** @type {string} */ (into))?.push(section)
  }
  /** @type {Map<string, string>} */
  const texts = new Map()
  for (const { name, header, text } of series.patches) {
    const written = patchText(header, sections.get(name) ?? [])
    if (withoutNumbers(written) !== withoutNumbers(text)) texts.set(name, written)
  }
  return texts
}

/**
 * The patches with their copies as this repository has them now: name to text, for those that change.
 * @param {import('./series.mjs').Series} series
 * @param {Map<string, { from: string, content: string }>} copies
 */
export function refreshCopies({ patches }, copies) {
  /** @type {Map<string, string>} */
  const texts = new Map()
  for (const { name, header, text, sections } of patches) {
    const written = patchText(
      header,
      sections.map((section) => {
        const copy = copies.get(section.file)
        return copy && contentOf(section) !== copy.content ? newFile(section.file, copy.content) : section
      }),
    )
    if (written !== text) texts.set(name, written)
  }
  return texts
}

/**
 * Writes what changed, and returns it.
 * @param {string} directory
 * @param {Map<string, string>} texts
 */
export async function writePatches(directory, texts) {
  for (const [name, text] of texts)
    await whole(path.join(directory, name), (partial) => writeFile(partial, text, 'latin1'))
  return texts
}
