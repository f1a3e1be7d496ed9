import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { gitOnFiles } from './git.mjs'
import { Problem } from './problem.mjs'
import { linesOf, placesOf } from './series.mjs'

/** @param {string} file */
const linesOfFile = async (file) => (await readFile(file, 'latin1')).split('\n')

/**
 * Applies one patch to a tree wholly or, with a Problem, not at all. Each hunk's lines must be in its file exactly once: at
 * whatever line, but never approximately and never at one of several places.
 * @param {string} tree
 * @param {string} directory of the patches
 * @param {import('./series.mjs').Patch} patch
 * @param {string} version of the source, for messages
 */
export async function applyPatch(tree, directory, patch, version) {
  const fail = (what) => {
    throw new Problem(
      `${patch.name} does not apply to ComputeLibrary ${version}`,
      what,
      `to mend it: edit the patch, or make the change in a tree and export it with refresh`,
    )
  }
  for (const { file, kind, hunks } of patch.sections) {
    const place = path.join(tree, file)
    if (kind === 'new') {
      if (existsSync(place)) fail(`${file}: the patch makes this file, but it is there already`)
      continue
    }
    if (!existsSync(place)) fail(`${file}: the patch changes this file, but it is not there`)
    const lines = await linesOfFile(place)
    for (const [i, hunk] of hunks.entries()) {
      const wanted = linesOf(hunk, 'before')
      const places = placesOf(lines, wanted)
      if (places.length === 1) continue
      const which = `${file}, hunk ${i + 1} of ${hunks.length} (${hunk.header})`
      if (places.length)
        fail(`${which}: its lines are there ${places.length} times (lines ${places.map((at) => at + 1).join(', ')})`)
      const absent = wanted.filter((line) => line.trim() && !lines.includes(line))
      fail(
        `${which}: its lines are not there${absent.length ? `; no such line: ${absent[0].trim()}` : ' in this order'}`,
      )
    }
  }
  if (patch.sections.length === 0) return
  const applied = await gitOnFiles(tree, ['apply', '--whitespace=nowarn', path.resolve(directory, patch.name)])
  if (applied.exitCode !== 0) fail(applied.stderr.trim())
  for (const { file, kind, hunks } of patch.sections) {
    const place = path.join(tree, file)
    if (kind === 'deleted') {
      if (existsSync(place)) fail(`${file}: still there after git apply`)
      continue
    }
    const lines = existsSync(place) ? await linesOfFile(place) : []
    for (const hunk of hunks)
      if (placesOf(lines, linesOf(hunk, 'after')).length === 0) fail(`${file}: left unchanged by git apply`)
  }
}

/**
 * @param {string} tree
 * @param {string} directory of the patches
 * @param {import('./series.mjs').Series} series
 * @param {string} version of the source, for messages
 */
export async function applySeries(tree, directory, series, version) {
  for (const patch of series.patches) await applyPatch(tree, directory, patch, version)
}
