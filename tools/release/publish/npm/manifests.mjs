import path from 'node:path'
import { list } from 'tar'
import { Problem } from '../../../acl/problem.mjs'

/**
 * Compares the tarballs with release.json: npm publishes under the name that is in the tarball. Packages that depend on
 * one another come in an order in which each finds what it needs, at this version; every one but the last is needed.
 * @param {import('../release.mjs').Package[]} packages
 * @returns {Promise<Map<string, string[]>>} for the name of each package the names of those that it needs, of this release
 */
export async function checkManifests(packages) {
  const [scope] = packages[0].name.split('/')
  /** @type {Map<string, string[]>} */
  const needs = new Map()
  for (const one of packages) {
    const manifest = await manifestIn(one.file)
    for (const key of /** @type {const} */ (['name', 'version']))
      if (manifest[key] !== one[key])
        throw new Problem(`${path.basename(one.file)}: ${key}: expected ${one[key]}, received ${manifest[key]}`)
    const needed = Object.entries({ ...manifest.dependencies, ...manifest.optionalDependencies })
    const own = needed.filter(([name]) => name.startsWith(`${scope}/`))
    for (const [name, range] of own) {
      if (!needs.has(name))
        throw new Problem(`release.json: npm: ${one.name} depends on ${name}, which must come before`)
      if (range !== one.version)
        throw new Problem(`${path.basename(one.file)}: ${name}: expected ${one.version}, received ${range}`)
    }
    needs.set(
      one.name,
      own.map(([name]) => name),
    )
  }
  const needed = [...needs.values()].flat()
  const alone = packages.slice(0, -1).find(({ name }) => !needed.includes(name))
  if (alone) throw new Problem(`release.json: npm: no package depends on ${alone.name}`)
  return needs
}

/** @param {string} file */
async function manifestIn(file) {
  /** @type {Buffer[]} */
  const parts = []
  try {
    await list({
      file,
      strict: true,
      filter: (name) => name === 'package/package.json',
      onReadEntry: (entry) => entry.on('data', (part) => parts.push(part)),
    })
    const manifest = JSON.parse(Buffer.concat(parts).toString())
    if (typeof manifest === 'object' && manifest !== null) return manifest
  } catch (error) {
    throw new Problem(`${path.basename(file)}: no package with a package.json: ${error.message}`)
  }
  throw new Problem(`${path.basename(file)}: package.json: expected an object`)
}
