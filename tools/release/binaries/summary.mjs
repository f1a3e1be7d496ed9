import path from 'node:path'

/**
 * An addon in one line.
 * @param {import('./check.mjs').AddonFacts} facts
 */
export function summaryOf({ name, platform, size, system, needs, libraries }) {
  const megabytes = `${(size / 1e6).toFixed(1)} MB`
  const needed = needs === undefined ? '' : ` (needs ${needs})`
  const loads = libraries.map((library) => path.posix.basename(library)).join(' ') || 'no libraries'
  return [name, platform, megabytes, `${system.name} ${system.version}${needed}`, loads].join('  ')
}
