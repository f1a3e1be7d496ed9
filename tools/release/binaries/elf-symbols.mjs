const symbolSize = 24
const binding = { local: 0, weak: 2 }
/** Default and protected ones are found by other libraries, internal and hidden ones are not. */
const visible = [0, 3]
/** Of the versions that symbols refer to: local ones, and those without any. */
const unversioned = [0, 1]

/**
 * How many symbols the hash tables know. GNU's does not have the undefined ones: relocations do.
 * @param {import('./elf-image.mjs').Image} image
 * @param {{ hash?: number, gnuHash?: number }} addresses
 */
export function countSymbols(image, { hash, gnuHash }) {
  let count = 0
  if (hash !== undefined) count = image.at('hash table', hash).u32(4)
  if (gnuHash === undefined) return count
  const table = image.at('GNU hash table', gnuHash)
  const [buckets, first, bloomWords] = [table.u32(0), table.u32(4), table.u32(8)]
  const bucketsAt = 16 + 8 * bloomWords
  const chainsAt = bucketsAt + 4 * buckets
  let last = 0
  for (let i = 0; i < buckets; i += 1) last = Math.max(last, table.u32(bucketsAt + 4 * i))
  if (last === 0) return Math.max(count, first)
  if (last < first) throw table.problem(`chains from symbol ${first} on`, `one from ${last}`)
  const chains = table.part('GNU hash table', chainsAt)
  while (chains.u32(4 * (last - first)) % 2 === 0) last += 1
  return Math.max(count, last + 1)
}

/**
 * @typedef {object} Import
 * @property {string} name
 * @property {boolean} weak nothing happens when there is none
 * @property {string} [library] the one that is to have its version
 * @property {string} [version]
 */

/**
 * @param {object} of
 * @param {import('./elf-image.mjs').Image} of.image
 * @param {import('./bytes.mjs').Bytes} of.strings
 * @param {import('./elf-versions.mjs').VersionNeed[]} of.versions
 * @param {number} of.address
 * @param {number} [of.versionsAddress]
 * @param {number} of.count
 */
export function readSymbols({ image, strings, versions, address, versionsAddress, count }) {
  const table = image.at('dynamic symbols', address, count * symbolSize)
  const indices =
    versionsAddress === undefined ? undefined : image.at('versions of symbols', versionsAddress, 2 * count)
  const needs = new Map(versions.map((need) => [need.index, need]))
  /** @type {string[]} */
  const exported = []
  /** @type {Import[]} */
  const imports = []
  for (let i = 1; i < count; i += 1) {
    const at = i * symbolSize
    const [info, other, section] = [table.u8(at + 4), table.u8(at + 5), table.u16(at + 6)]
    const bound = info >> 4
    if (bound === binding.local) continue
    if (section !== 0) {
      if (visible.includes(other & 3)) exported.push(strings.text(table.u32(at)))
      continue
    }
    const index = indices ? indices.u16(2 * i) & 0x7fff : 0
    const need = needs.get(index)
    if (!need && !unversioned.includes(index))
      throw table.problem(`a version needed for symbol ${i}`, `number ${index}, which is none`)
    imports.push({
      name: strings.text(table.u32(at)),
      weak: bound === binding.weak,
      ...(need && { library: need.library, version: need.version }),
    })
  }
  return { exports: exported, imports }
}
