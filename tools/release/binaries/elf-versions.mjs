const recordSize = 16

/**
 * @typedef {object} VersionNeed
 * @property {number} index by which symbols refer to it
 * @property {string} library
 * @property {string} version
 */

/**
 * The versions that the loader looks for in other libraries before anything runs.
 * @param {import('./bytes.mjs').Bytes} table from the first record on
 * @param {import('./bytes.mjs').Bytes} strings
 * @param {number} count of libraries
 */
export function readVersionNeeds(table, strings, count) {
  /** @type {VersionNeed[]} */
  const needs = []
  let left = Math.floor(table.length / recordSize)
  /**
   * Records that are chained by their distances.
   * @param {number} at @param {number} expected @param {number} link where a record has the distance to the next @param {(at: number) => void} each
   */
  const chain = (at, expected, link, each) => {
    for (let found = 1; ; found += 1) {
      left -= 1
      if (left < 0) throw table.problem('records side by side', 'more of them than fit')
      each(at)
      const distance = table.u32(at + link)
      if ((distance === 0) !== (found === expected))
        throw table.problem(`${expected} chained records`, 'another number')
      if (distance === 0) return
      at += distance
    }
  }
  if (count === 0) return needs
  chain(0, count, 12, (library) => {
    const name = strings.text(table.u32(library + 4))
    chain(library + table.u32(library + 8), table.u16(library + 2), 12, (version) => {
      const index = table.u16(version + 6) & 0x7fff
      needs.push({ index, library: name, version: strings.text(table.u32(version + 8)) })
    })
  })
  return needs
}
