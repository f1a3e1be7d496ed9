import path from 'node:path'
import { $, fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'

/**
 * The folders of what a package depends on, directly or not, as it was installed here from the lock file. Packages of the workspace are
 * left out, and optional ones that are not here.
 * @param {{ dependencies?: object, optionalDependencies?: object }} manifest of the package
 * @param {string} folder of the package
 * @returns {Promise<string[]>}
 */
export async function installedDependencies(manifest, folder) {
  /** @type {Set<string>} */
  const found = new Set()
  await addDependencies(manifest, folder, found)
  return [...found]
}

/**
 * @param {{ dependencies?: object, optionalDependencies?: object }} manifest
 * @param {string} folder where it is
 * @param {Set<string>} found
 */
async function addDependencies({ dependencies = {}, optionalDependencies = {} }, folder, found) {
  for (const name of new Set([dependencies, optionalDependencies].flatMap(Object.keys))) {
    const place = await placeOf(name, folder)
    if (!place && !(name in optionalDependencies)) throw new Problem(`not installed: ${name}`, 'install it: npm ci')
    if (!place || found.has(place) || (await fs.lstat(place)).isSymbolicLink()) continue
    found.add(place)
    await addDependencies(await fs.readJson(path.join(place, 'package.json')), place, found)
  }
}

/** Where Node.js finds a package. @param {string} name @param {string} from a folder @returns {Promise<string | undefined>} */
async function placeOf(name, from) {
  const place = path.join(from, 'node_modules', name)
  if (await fs.pathExists(place)) return place
  const above = path.dirname(from)
  return above === from ? undefined : placeOf(name, above)
}

/**
 * Packs folders as they are, so that a registry without network has them.
 * @param {string[]} folders
 * @param {string} destination
 * @returns {Promise<string[]>} the tarballs
 */
export async function packFolders(folders, destination) {
  const quiet = $({ nothrow: true, quiet: true })
  const packed = await quiet`npm pack ${folders} --pack-destination ${destination} --json --ignore-scripts`
  if (packed.exitCode !== 0) throw new Problem('npm pack of dependencies failed', packed.stderr.trim())
  return JSON.parse(packed.stdout).map(({ filename }) => path.join(destination, filename))
}
