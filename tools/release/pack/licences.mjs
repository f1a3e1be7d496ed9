import path from 'node:path'
import { fs } from 'zx'

/** Licences of what every addon has inside. */
const always = 'third_party/licenses'

/**
 * Copies the licences of what was linked.
 * @param {string[]} directories with more of them
 * @param {string} destination
 */
export async function copyLicences(directories, destination) {
  await fs.copy(always, destination)
  for (const directory of directories) await fs.copy(directory, path.join(destination, 'ComputeLibrary'))
}
