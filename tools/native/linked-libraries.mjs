// Which ComputeLibraries the addons of a build are linked with: those that this build has made or found made, not what an earlier one,
// of another source or series, has left.
import path from 'node:path'
import { fs } from 'zx'
import { libraryName } from './targets.mjs'

/** @param {import('./targets.mjs').Build} build */
const fileOf = ({ directory }) => path.join('packages/acl', directory, 'compute-libraries.json')

/**
 * @param {import('./targets.mjs').Build} build
 * @param {string[]} cpus of the build, those whose ComputeLibrary is to be linked
 */
export async function writeLinkedLibraries(build, cpus) {
  const libraries = []
  for (const cpu of cpus) {
    const prefix = path.join('build/compute-library', libraryName(build, cpu))
    // The key makes this file, an input of the build cache, another one with every other library.
    const { key } = await fs.readJson(path.join(prefix, 'build.json'))
    libraries.push({ cpu, prefix, key })
  }
  await fs.outputJson(fileOf(build), libraries, { spaces: 2 })
}

/**
 * @param {import('./targets.mjs').Build} build
 * @returns {Promise<{ cpu: string, prefix: string, facts: any }[]>} `facts`: the prefix's build.json
 */
export async function readLinkedLibraries(build) {
  const libraries = (await fs.pathExists(fileOf(build))) ? await fs.readJson(fileOf(build)) : []
  return Promise.all(
    libraries.map(async ({ cpu, prefix }) => ({
      ...{ cpu, prefix: path.resolve(prefix) },
      facts: await fs.readJson(path.join(prefix, 'build.json')),
    })),
  )
}
