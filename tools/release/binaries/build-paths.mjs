import { printable } from './bytes.mjs'

/** Where every Linux and macOS keeps homes and temporary files: the beginnings to look for, whichever machine made a binary. */
const usualPlaces = ['/home/', '/root/', '/Users/', '/tmp/', '/private/var/', '/var/folders/']
const longestPath = 200
const mostPaths = 100

/**
 * The paths of the machine that made a binary which are left in it.
 * @param {Buffer} content
 * @param {string[]} places beginnings of paths, beside homes and temporary directories
 */
export function findBuildPaths(content, places) {
  /** @type {Set<string>} */
  const paths = new Set()
  for (const place of [...usualPlaces, ...places]) {
    const beginning = Buffer.from(place)
    for (
      let at = content.indexOf(beginning);
      at >= 0 && paths.size < mostPaths;
      at = content.indexOf(beginning, at + 1)
    ) {
      const path = content.subarray(at, at + longestPath)
      const end = path.indexOf(0)
      paths.add(printable(end < 0 ? path : path.subarray(0, end)))
    }
  }
  return [...paths]
}
