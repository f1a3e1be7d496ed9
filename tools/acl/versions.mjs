import { Problem } from './problem.mjs'

/**
 * How the series does with some versions of ComputeLibrary: `tested` here; `expected` to work, not built here; `limited`, what works
 * in others is refused; `broken`.
 * @typedef {'tested' | 'expected' | 'limited' | 'broken'} Status
 */

/**
 * @typedef {object} VersionRange
 * @property {string} from
 * @property {string} to inclusive
 * @property {Status} status
 * @property {string} note
 */

const statuses = ['tested', 'expected', 'limited', 'broken']

/** @param {string} version */
const isVersion = (version) => /^\d+(\.\d+)*$/.test(version)

/**
 * @param {unknown} versions
 * @param {string} place for messages
 * @returns {VersionRange[]}
 */
export function checkVersions(versions, place) {
  if (!Array.isArray(versions)) throw new Problem(`${place}: ComputeLibrary.versions: expected a list`)
  for (const { from, to, status, note } of versions) {
    const where = `${place}: versions ${from} to ${to}`
    if (!isVersion(from) || !isVersion(to) || compare(from, to) > 0)
      throw new Problem(`${where}: expected two versions, the older one first`)
    if (!statuses.includes(status))
      throw new Problem(`${where}: status: expected ${statuses.join(', ')}, received ${status}`)
    if (typeof note !== 'string' || !note) throw new Problem(`${where}: note: expected a sentence`)
  }
  return versions
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number))
  for (let i = 0; i < Math.max(left.length, right.length); i += 1)
    if ((left[i] ?? 0) !== (right[i] ?? 0)) return (left[i] ?? 0) - (right[i] ?? 0)
  return 0
}

/** @type {Record<Status, string>} */
const sayings = {
  tested: 'works',
  expected: 'expected to work',
  limited: 'works within limits',
  broken: 'KNOWN NOT TO WORK',
}

/**
 * What is known of the series with a version: the first range that it is in decides.
 * @param {{ versions: VersionRange[] }} lock
 * @param {string} version
 * @returns {{ status: Status | 'unknown', text: string }}
 */
export function experienceWith({ versions }, version) {
  const range = versions.find(({ from, to }) => compare(from, version) <= 0 && compare(version, to) <= 0)
  if (!range) return { status: 'unknown', text: 'nothing is known of the series with this version' }
  return { status: range.status, text: `${sayings[range.status]}: ${range.note}` }
}
