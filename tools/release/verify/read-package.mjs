import { readEntry } from '../pack/archive.mjs'

/**
 * The package.json in a tarball that npm packed.
 * @param {string} tarball
 */
export const readPackage = async (tarball) => JSON.parse(await readEntry(tarball, 'package/package.json'))
