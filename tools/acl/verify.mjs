import path from 'node:path'
import { driftedCopies, readCopies } from './copies.mjs'
import { exportSeries } from './export.mjs'
import { Problem } from './problem.mjs'
import { readSeries } from './series.mjs'
import { sourcesAtHand } from './sources/source.mjs'
import { beside } from './temporary.mjs'
import { copyPatched } from './tree.mjs'
import { experienceWith } from './versions.mjs'

/**
 * The kernel copies in the patches are the kernels.
 * @param {import('./layout.mjs').Layout} layout
 */
export async function verifyCopies(layout) {
  const series = await readSeries(layout)
  const copies = await readCopies(layout)
  const drifted = driftedCopies(series, copies)
  if (drifted.length)
    throw new Problem(...drifted.map(({ what }) => what), 'to bring the patches up to date: refresh --copies')
  return { series, copies }
}

/**
 * The copies, and for every source at hand: the series applies from clean, and an export of the result is the series.
 * @param {import('./layout.mjs').Layout} layout
 * @param {import('./lock.mjs').Lock} lock
 * @param {{ named?: string, allowUnlocked?: boolean, say: (text: string) => void }} options
 */
export async function verify(layout, lock, { say, ...options }) {
  const { series, copies } = await verifyCopies(layout)
  say(`${copies.size} copies are what packages/kernels has`)
  for (const { name, sections } of series.patches)
    if (sections.length === 0) throw new Problem(`${name}: changes nothing; take it out of the series`)
  const sources = await sourcesAtHand(layout, lock, { ...options, say })
  if (sources.length === 0)
    throw new Problem(
      'no source to verify the series with',
      'run fetch, or name one: ACL_SOURCE=DIRECTORY|TARBALL|debian',
    )
  for (const source of sources) {
    const texts = await beside(path.join(layout.build, 'verify'), async (partial) => {
      await copyPatched(source, series, layout.patches, partial)
      return exportSeries({ source: source.directory, tree: partial, series, copies })
    })
    if (texts.size)
      throw new Problem(
        `${[...texts.keys()].join(', ')}: with ComputeLibrary ${source.version}, an export is not the patch again`,
        'to write it as the export would: patch, then refresh',
      )
    say(`ComputeLibrary ${source.version} (${source.kind}): ${series.patches.length} patches apply, export is the same`)
    say(`the series with ComputeLibrary ${source.version}: ${experienceWith(lock, source.version).text}`)
  }
}
