import { existsSync } from 'node:fs'
import { cp, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { applySeries } from './apply.mjs'
import { differences, digestOfFiles, few, filesOf, isApart } from './digest.mjs'
import { Problem } from './problem.mjs'
import { readJson, whole, writeJson } from './temporary.mjs'

/**
 * A fresh copy of a source, with the series applied.
 * @param {import('./sources/record.mjs').Source} source
 * @param {import('./series.mjs').Series} series
 * @param {string} patches their directory
 * @param {string} place
 */
export async function copyPatched(source, series, patches, place) {
  const top = path.resolve(source.directory)
  await cp(top, place, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (from) => !isApart(path.relative(top, from)),
  })
  if (digestOfFiles(await filesOf(place)) !== source.digest)
    throw new Problem(`${source.directory}: was changed while it was copied`)
  await applySeries(place, patches, series, source.version)
}

/**
 * @typedef {object} TreeRecord
 * @property {import('./sources/record.mjs').Source} source
 * @property {string} series digest
 * @property {string} changes digest of the series without what is only carried along
 * @property {Record<string, string>} files as they were made
 */

/** @param {string} tree */
const recordOf = (tree) => `${path.resolve(tree)}.json`

/**
 * What is known of a tree: what it was made of, and what was edited since.
 * @param {string} tree
 * @returns {Promise<TreeRecord & { edited: string[] } | undefined>}
 */
export async function historyOf(tree) {
  const record = existsSync(tree) ? await readJson(recordOf(tree)) : undefined
  if (!record) return undefined
  const files = await filesOf(tree)
  const edited = digestOfFiles(files) === digestOfFiles(record.files) ? [] : differences(record.files, files)
  return { ...record, edited }
}

/**
 * Writes down what a tree consists of.
 * @param {string} tree
 * @param {import('./sources/record.mjs').Source} source
 * @param {import('./series.mjs').Series} series
 */
export async function recordTree(tree, source, series) {
  const files = await filesOf(tree)
  /** @type {TreeRecord} */
  const record = { source, series: series.digest, changes: series.changes, files }
  await writeJson(recordOf(tree), record)
}

/** @param {string} tree */
function freeName(tree) {
  for (let i = 1; ; i += 1) {
    const name = `${tree}.edited${i === 1 ? '' : `-${i}`}`
    if (!existsSync(name)) return name
  }
}

/**
 * Moves an edited tree, without what was built in it, out of the way.
 * @param {string} tree
 * @returns {Promise<string>} where it is now
 */
async function setAside(tree) {
  const aside = freeName(tree)
  // In this order: a tree that has lost its record would be taken for an unfinished one and replaced.
  await rename(tree, aside)
  await rename(recordOf(tree), recordOf(aside))
  await rm(path.join(aside, 'build'), { recursive: true, force: true })
  return aside
}

/**
 * Makes a tree of the given source with the given series. One that is that already stays, with what scons has built in it;
 * one of another source or series is made anew and keeps the objects, which scons checks by content; an unfinished one is
 * made anew.
 * @param {import('./layout.mjs').Layout} layout
 * @param {string} tree
 * @param {import('./sources/record.mjs').Source} source
 * @param {import('./series.mjs').Series} series
 * @param {{ say: (text: string) => void, edited: 'aside' | 'refuse' | 'drop' }} options what to do with a tree that was
 *   edited
 */
export async function prepareTree(layout, tree, source, series, { say, edited }) {
  const place = layout.name(tree)
  const known = await historyOf(tree)
  if (known && known.edited.length === 0 && known.source.digest === source.digest && known.series === series.digest)
    return
  if (known?.edited.length && edited === 'refuse')
    throw new Problem(
      `${place} was edited: ${few(known.edited)}`,
      'to keep the changes: refresh; to drop them: patch --discard',
    )
  if (known?.edited.length && edited === 'aside') {
    const aside = await setAside(tree)
    say(
      `${place} was edited (${few(known.edited)}): made anew from the series; the edited one is ${layout.name(aside)}`,
    )
  }
  say(`patching ComputeLibrary ${source.version} in ${place}`)
  await whole(tree, async (partial) => {
    await copyPatched(source, series, layout.patches, partial)
    await rm(recordOf(tree), { force: true })
    const built = path.join(tree, 'build')
    if (known?.edited.length === 0 && existsSync(built)) await rename(built, path.join(partial, 'build'))
  })
  await recordTree(tree, source, series)
}
