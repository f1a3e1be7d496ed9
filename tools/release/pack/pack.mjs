import path from 'node:path'
import { fs } from 'zx'
import { digestOfFile } from '../../acl/digest.mjs'
import { Problem, Unavailable } from '../../acl/problem.mjs'
import { buildAddon } from '../../native/build-addon.mjs'
import { buildKernels } from '../../native/build-kernels.mjs'
import { buildComputeLibraries } from '../../native/compute-library.mjs'
import { buildFor, libraryName, releaseBuild } from '../../native/targets.mjs'
import { libraryCpus, platforms } from '../platforms.mjs'
import { checkAddons, dropCopies } from './addons.mjs'
import { collect } from './collect.mjs'
import { packLibrary } from './library.mjs'
import { packPlatform, packRoot } from './npm.mjs'

/**
 * Builds and packs: npm packages into DIRECTORY/npm, C++ tarballs into DIRECTORY/assets, and release.json and SHA256SUMS over all that
 * is there.
 * @param {object} options
 * @param {string[]} options.platforms
 * @param {string[]} [options.cpus] of those that ComputeLibrary is compiled for: only these; a release wants all
 * @param {string} options.directory
 * @param {(text: string) => void} options.say
 */
export async function pack({ platforms: wanted, cpus, directory, say }) {
  for (const platform of wanted)
    if (!platforms[platform])
      throw new Problem(`--platform: expected ${Object.keys(platforms).join(', ')}, received '${platform}'`)
  const known = Object.keys(platforms).flatMap(libraryCpus)
  for (const cpu of cpus ?? [])
    if (!known.includes(cpu)) throw new Problem(`--cpu: expected ${known.join(', ')}, received '${cpu}'`)
  const isWanted = (cpu) => !cpus || cpus.includes(cpu)
  const { version } = await fs.readJson('packages/acl/package.json')
  const stages = path.join(directory, 'stage')
  const npm = path.join(directory, 'npm')
  await fs.remove(stages)
  const stage = async (name) => {
    await fs.emptyDir(path.join(stages, name))
    return path.join(stages, name)
  }

  say(await packRoot(await stage('root'), npm))
  for (const platform of wanted) {
    const build = releaseBuild(platform, isWanted)
    await requireLibraries(build)
    await buildAddon(build)
    const addons = await stage('addons')
    await fs.copy(path.join('packages/acl', build.directory, 'Release'), addons)
    await dropCopies(addons, say)
    await checkAddons(addons, say)
    const licences = build.cpus.slice(0, 1).map((cpu) => `build/compute-library/${libraryName(build, cpu)}/LICENSES`)
    say(await packPlatform({ platform, addons, licences, stage: await stage('npm'), destination: npm }))

    await buildKernels(platform)
    const libraryBuild = (cpu) => buildFor({ target: platform, cpu: build.cpus.length ? cpu : undefined })
    for (const { cpu, alsoFor } of await distinctLibraries(platform, isWanted, libraryBuild)) {
      if (alsoFor.length) say(`the libraries for ${[cpu, ...alsoFor].join(', ')} are the same: one tarball`)
      const options = { platform, cpu, alsoFor, build: await libraryBuild(cpu), addons, version }
      say(await packLibrary({ ...options, stage: await stage('library'), destination: path.join(directory, 'assets') }))
    }
  }
  await fs.remove(stages)
  await collect({ directory, version, say })
}

/** @param {import('../../native/targets.mjs').Build} build */
async function requireLibraries(build) {
  const reason = await buildComputeLibraries(build)
  if (reason) throw new Unavailable(`no ComputeLibrary for ${build.target}, ${build.cpus.join(', ')}`, reason)
}

/**
 * The libraries for a platform; those that came out identical are one.
 * @param {string} platform
 * @param {(cpu: string) => boolean} isWanted
 * @param {(cpu: string) => Promise<import('../../native/targets.mjs').Build>} buildOf
 */
async function distinctLibraries(platform, isWanted, buildOf) {
  /** @type {Map<string, { cpu: string, alsoFor: string[] }>} */
  const distinct = new Map()
  for (const cpu of libraryCpus(platform)) {
    const build = await buildOf(cpu)
    if (build.cpus.length === 0) return [{ cpu, alsoFor: [] }]
    if (!isWanted(cpu)) continue
    await requireLibraries(build)
    const digest = await digestOfFile(
      path.join('build/compute-library', libraryName(build, cpu), 'lib/libarm_compute-static.a'),
    )
    const same = distinct.get(digest)
    if (same) same.alsoFor.push(cpu)
    else distinct.set(digest, { cpu, alsoFor: [] })
  }
  return [...distinct.values()]
}
