import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { Problem } from './problem.mjs'
import { readCopyList } from './series.mjs'

/**
 * The files that a patch carries as copies of this repository's own: path in the tree to content.
 * @param {import('./layout.mjs').Layout} layout
 */
export async function readCopies(layout) {
  /** @type {Map<string, { from: string, content: string }>} */
  const copies = new Map()
  for (const { from, to } of await readCopyList(layout)) {
    const content = await readFile(path.join(layout.root, from), 'latin1').catch(() => {
      throw new Problem(`copies.json names ${from}, which is not there`)
    })
    copies.set(to, { from, content })
  }
  return copies
}

/**
 * The content that a patch gives to a new file.
 * @param {import('./series.mjs').Section} section
 */
export function contentOf({ hunks }) {
  const lines = hunks.flatMap(({ lines }) => lines)
  const ended = lines.at(-1)?.startsWith('\\') ? '' : '\n'
  return (
    lines
      .filter((line) => line.startsWith('+'))
      .map((line) => line.slice(1))
      .join('\n') + ended
  )
}

/**
 * The copies that are not what packages/kernels has, with what is wrong with each.
 * @param {import('./series.mjs').Series} series
 * @param {Map<string, { from: string, content: string }>} copies
 */
export function driftedCopies({ patches }, copies) {
  const sections = new Map(patches.flatMap(({ sections }) => sections.map((section) => [section.file, section])))
  const drifted = []
  for (const [to, { from, content }] of copies) {
    const section = sections.get(to)
    if (!section)
      drifted.push({ to, from, what: `${to} is in no patch, but copies.json names it as a copy of ${from}` })
    else if (section.kind !== 'new') drifted.push({ to, from, what: `${to} is no new file in its patch` })
    else if (contentOf(section) !== content) drifted.push({ to, from, what: `${to} is not what ${from} has` })
  }
  return drifted
}
