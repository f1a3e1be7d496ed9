import { Problem } from '../../acl/problem.mjs'
import { backoff } from './limits.mjs'

/**
 * Which packages the registry lacks. Another package under the same name and version is an error: a version can be
 * published once.
 * @param {import('./npm/registry.mjs').Registry} registry
 * @param {import('./release.mjs').Package[]} packages
 */
export async function findMissing(registry, packages) {
  /** @type {import('./release.mjs').Package[]} */
  const missing = []
  for (const one of packages) if (!(await isThere(registry, one))) missing.push(one)
  return missing
}

/**
 * Publishes packages in their order, each when the registry shows those that it needs.
 * @param {import('./npm/registry.mjs').Registry} registry
 * @param {import('./release.mjs').Release} release
 * @param {import('./release.mjs').Package[]} missing
 * @param {object} options
 * @param {Map<string, string[]>} options.needs for the name of each package the names of those that it needs
 * @param {boolean} options.dryRun
 * @param {boolean} options.provenance
 * @param {import('./limits.mjs').Limits} options.limits
 * @param {(text: string) => void} options.say
 */
export async function publishPackages(registry, { packages, prerelease }, missing, options) {
  const { needs, dryRun, provenance, limits, say } = options
  const tag = prerelease ? 'next' : 'latest'
  /** Not seen in the registry yet. @type {Set<import('./release.mjs').Package>} */
  const sent = new Set()
  const untilShown = async (one) => {
    await untilVisible(registry, one, limits)
    sent.delete(one)
  }
  for (const one of packages) {
    const named = `${one.name}@${one.version}`
    if (!missing.includes(one)) {
      say(`npm: ${named} is there already`)
      continue
    }
    for (const other of sent) if (needs.get(one.name)?.includes(other.name)) await untilShown(other)
    say(`npm: ${dryRun ? 'would publish' : 'publishing'} ${named} (tag ${tag})`)
    await publishOne(registry, one, { tag, dryRun, provenance })
    if (!dryRun) sent.add(one)
  }
  for (const one of sent) await untilShown(one)
}

/**
 * @param {import('./npm/registry.mjs').Registry} registry
 * @param {import('./release.mjs').Package} one
 * @param {{ tag: string, dryRun: boolean, provenance: boolean }} options
 */
async function publishOne(registry, one, options) {
  try {
    await registry.publish(one, options)
  } catch (error) {
    // Where only the answer was lost the package is there.
    if (!(await isThere(registry, one).catch(() => false))) throw error
  }
}

/**
 * @param {import('./npm/registry.mjs').Registry} registry
 * @param {import('./release.mjs').Package} one
 */
async function isThere(registry, one) {
  const integrity = await registry.integrityOf(one)
  if (integrity === undefined) return false
  if (integrity === one.integrity) return true
  throw new Problem(
    `npm: the registry has another ${one.name}@${one.version}`,
    `expected ${one.integrity}`,
    `received ${integrity}`,
    'a version is published once: release under another version',
  )
}

/**
 * @param {import('./npm/registry.mjs').Registry} registry
 * @param {import('./release.mjs').Package} one
 * @param {import('./limits.mjs').Limits} limits
 */
async function untilVisible(registry, one, limits) {
  for (let poll = 1; !(await isThere(registry, one)); poll += 1) {
    if (poll > limits.polls)
      throw new Problem(
        `npm: ${one.name}@${one.version} was published, but the registry does not show it yet`,
        'run the same command again later: it goes on where this one stopped',
      )
    await backoff(limits, poll)
  }
}
