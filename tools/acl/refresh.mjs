import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { readCopies } from './copies.mjs'
import { few } from './digest.mjs'
import { exportSeries, refreshCopies, writePatches } from './export.mjs'
import { Problem } from './problem.mjs'
import { readSeries } from './series.mjs'
import { sourcesAtHand } from './sources/source.mjs'
import { versionOf } from './sources/version.mjs'
import { historyOf, recordTree } from './tree.mjs'

/**
 * Writes the patches as an edited tree wants them.
 * @param {import('./layout.mjs').Layout} layout
 * @param {import('./lock.mjs').Lock} lock
 * @param {object} options
 * @param {string} [options.tree] what `patch` makes, unless given
 * @param {string} [options.into] the patch for files that are in none
 * @param {boolean} [options.copiesOnly] no tree is read
 * @param {string} [options.named] ACL_SOURCE
 * @param {boolean} [options.allowUnlocked]
 * @param {(text: string) => void} options.say
 */
export async function refresh(layout, lock, { tree, into, copiesOnly = false, say, ...options }) {
  const series = await readSeries(layout)
  const copies = await readCopies(layout)
  const texts = copiesOnly
    ? await writePatches(layout.patches, refreshCopies(series, copies))
    : await exportTree(layout, lock, {
        tree: tree ?? path.join(layout.edit, 'tree'),
        series,
        copies,
        into,
        say,
        ...options,
      })
  for (const name of texts.keys()) say(`wrote ${layout.name(path.join(layout.patches, name))}`)
  if (texts.size === 0) say('the patches are up to date')
  return texts
}

/**
 * @param {import('./layout.mjs').Layout} layout
 * @param {import('./lock.mjs').Lock} lock
 */
async function exportTree(layout, lock, { tree, series, copies, into, say, ...options }) {
  const place = layout.name(path.resolve(tree))
  if (!existsSync(tree)) throw new Problem(`${place}: not there`, 'patch makes a tree to edit')
  const known = await historyOf(tree)
  if (known && known.changes !== series.changes)
    throw new Problem(
      `${place} was made of another state of the series: an export would take back what the patches have gained since`,
      known.edited.length
        ? `keep what you edited (${few(known.edited)}), run patch --discard, and edit again`
        : 'run patch, which makes it anew',
    )
  const version = known?.source.version ?? (await versionOf(tree))
  const sources = await sourcesAtHand(layout, lock, { ...options, say })
  const source = sources.find((one) => (known ? one.digest === known.source.digest : one.version === version))
  if (!source)
    throw new Problem(
      `${place} is made of ComputeLibrary ${version}${known ? ` (${known.source.kind})` : ''}, which is not at hand`,
      'name its source: ACL_SOURCE=DIRECTORY|TARBALL|debian',
    )
  const exported = await exportSeries({ source: source.directory, tree, series, copies, made: known?.files, into })
  const texts = await writePatches(layout.patches, exported)
  for (const [to, { content }] of copies) {
    await mkdir(path.dirname(path.join(tree, to)), { recursive: true })
    await writeFile(path.join(tree, to), content, 'latin1')
  }
  if (known) await recordTree(tree, known.source, await readSeries(layout))
  return texts
}
