import path from 'node:path'
import { list } from 'tar'
import { Problem } from '../../../acl/problem.mjs'

/**
 * Compares the tarballs with release.json: npm publishes under the name that is in the tarball. The last package must
 * be the one whose optionalDependencies are the others, at this version: it is what makes them an installation.
 * @param {import('../release.mjs').Package[]} packages
 */
export async function checkManifests(packages) {
  /** @type {any} */
  let manifest
  for (const one of packages) {
    manifest = await manifestIn(one.file)
    for (const key of /** @type {const} */ (['name', 'version']))
      if (manifest[key] !== one[key])
        throw new Problem(`${path.basename(one.file)}: ${key}: expected ${one[key]}, received ${manifest[key]}`)
  }
  const leaves = packages.slice(0, -1)
  const expected = leaves.map(({ name, version }) => `${name}@${version}`).sort()
  const received = Object.entries(manifest.optionalDependencies ?? {}).map(([name, range]) => `${name}@${range}`)
  if (`${received.sort()}` !== `${expected}`)
    throw new Problem(
      `release.json: npm: the last package is ${manifest.name}, which must depend on the others, at this version`,
      `optionalDependencies: expected ${expected.join(', ')}`,
      `received ${received.join(', ') || 'none'}`,
    )
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
