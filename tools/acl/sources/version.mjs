import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { Problem } from '../problem.mjs'

/**
 * The version of a ComputeLibrary tree, as its build says it.
 * @param {string} tree
 */
export async function versionOf(tree) {
  for (const name of ['SConscript', 'SConstruct']) {
    const text = await readFile(path.join(tree, name), 'utf8').catch(() => '')
    const [, version] = text.match(/^VERSION = ["']v?([0-9][0-9.]*)["']/m) ?? []
    if (version) return version
  }
  throw new Problem(`${tree}: expected a ComputeLibrary source tree, found no VERSION in its SConscript`)
}
