import path from 'node:path'
import { fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'
import { buildAddon } from '../../native/build-addon.mjs'
import { buildKernels } from '../../native/build-kernels.mjs'
import { buildComputeLibraries } from '../../native/compute-library.mjs'
import { buildFor, libraryName, releaseBuild } from '../../native/targets.mjs'
import { libraryCpus, packedHere, platforms } from '../platforms.mjs'
import { checkAddons, dropCopies } from './addons.mjs'
import { collect } from './collect.mjs'
import { packLibrary } from './library.mjs'
import { requireLock, requireLocked } from './locked.mjs'
import { packBench, packPlatform, packRoot } from './npm.mjs'

/**
 * Builds and packs: npm packages into DIRECTORY/npm, C++ tarballs into DIRECTORY/assets, and release.json over all that is there.
 * @param {object} options
 * @param {string[]} options.platforms
 * @param {string[]} [options.cpus] of those that ComputeLibrary is compiled for: only these; a release wants all
 * @param {boolean} [options.common] also the packages that are the same for every platform
 * @param {boolean} [options.allowUnlocked] also what was built from a ComputeLibrary that the lock does not know; a release is not
 * @param {string} options.directory
 * @param {(text: string) => void} options.say
 */
export async function pack({ platforms: wanted, cpus, common = true, allowUnlocked = false, directory, say }) {
  for (const platform of wanted)
    if (!platforms[platform])
      throw new Problem(`--platform: expected ${Object.keys(platforms).join(', ')}, received '${platform}'`)
  const elsewhere = wanted.filter((platform) => !packedHere.includes(platform))
  if (elsewhere.length)
    throw new Problem(
      `--platform: expected what can be packed here (${packedHere.join(', ')}), received ${elsewhere.join(', ')}`,
    )
  const known = Object.keys(platforms).flatMap(libraryCpus)
  for (const cpu of cpus ?? [])
    if (!known.includes(cpu)) throw new Problem(`--cpu: expected ${known.join(', ')}, received '${cpu}'`)
  const isWanted = (cpu) => !cpus || cpus.includes(cpu)
  if (!allowUnlocked && wanted.some((platform) => releaseBuild(platform, isWanted).cpus.length)) await requireLock()
  const version = await commonVersion()
  const stages = path.join(directory, 'stage')
  const npm = path.join(directory, 'npm')
  await fs.remove(stages)
  const stage = async (name) => {
    await fs.emptyDir(path.join(stages, name))
    return path.join(stages, name)
  }

  if (common) {
    say(await packRoot(await stage('root'), npm))
    say(await packBench(await stage('bench'), npm))
  }
  for (const platform of wanted) {
    await removeOld(directory, platform)
    const build = releaseBuild(platform, isWanted)
    await buildLibraries(build, { allowUnlocked, say })
    await buildAddon(build)
    const addons = await stage('addons')
    await fs.copy(path.join('packages/acl', build.directory, 'Release'), addons)
    await dropCopies(addons, say, (cpu) => digestOfLibrary(build, cpu))
    await checkAddons(addons, say)
    const licences = build.cpus.slice(0, 1).map((cpu) => path.join(prefixOf(build, cpu), 'LICENSES'))
    say(await packPlatform({ platform, addons, licences, stage: await stage('npm'), destination: npm }))

    await buildKernels(platform)
    const libraryBuild = (cpu) => buildFor({ target: platform, cpu: build.cpus.length ? cpu : undefined })
    for (const { cpu, alsoFor } of await distinctLibraries(platform, isWanted, libraryBuild, { allowUnlocked, say })) {
      if (alsoFor.length) say(`the libraries for ${[cpu, ...alsoFor].join(', ')} are the same: one tarball`)
      const options = { platform, cpu, alsoFor, build: await libraryBuild(cpu), addons, version }
      say(await packLibrary({ ...options, stage: await stage('library'), destination: path.join(directory, 'assets') }))
    }
  }
  await fs.remove(stages)
  const missing = await collect({ directory, version, say })
  if (missing.length) say(`a part of a release; missing are ${missing.join(', ')}`)
}

/** The version of all packages. */
async function commonVersion() {
  const versions = await Promise.all(
    ['acl', 'kernels', 'bench'].map(async (name) => (await fs.readJson(`packages/${name}/package.json`)).version),
  )
  if (new Set(versions).size > 1)
    throw new Problem(
      `packages/{acl,kernels,bench}/package.json: expected one version, received ${versions.join(', ')}`,
    )
  return versions[0]
}

/**
 * What was packed for a platform before: of another version, or for a CPU that has no tarball of its own any more.
 * @param {string} directory
 * @param {string} platform
 */
async function removeOld(directory, platform) {
  for (const folder of ['npm', 'assets'])
    for (const name of await fs.readdir(path.join(directory, folder)).catch(() => []))
      if (name.includes(`-${platform}-`)) await fs.remove(path.join(directory, folder, name))
}

/**
 * @param {import('../../native/targets.mjs').Build} build
 * @param {{ allowUnlocked: boolean, say: (text: string) => void }} options
 */
async function buildLibraries(build, options) {
  await buildComputeLibraries(build)
  await requireLocked(
    build.cpus.map((cpu) => prefixOf(build, cpu)),
    options,
  )
}

/**
 * The libraries for a platform; those that came out identical are one.
 * @param {string} platform
 * @param {(cpu: string) => boolean} isWanted
 * @param {(cpu: string) => Promise<import('../../native/targets.mjs').Build>} buildOf
 * @param {{ allowUnlocked: boolean, say: (text: string) => void }} options
 */
async function distinctLibraries(platform, isWanted, buildOf, options) {
  /** @type {Map<string, { cpu: string, alsoFor: string[] }>} */
  const distinct = new Map()
  for (const cpu of libraryCpus(platform)) {
    const build = await buildOf(cpu)
    if (build.cpus.length === 0) return [{ cpu, alsoFor: [] }]
    if (!isWanted(cpu)) continue
    await buildLibraries(build, options)
    const digest = await digestOfLibrary(build, cpu)
    const same = distinct.get(digest)
    if (same) same.alsoFor.push(cpu)
    else distinct.set(digest, { cpu, alsoFor: [] })
  }
  return [...distinct.values()]
}

/** @param {import('../../native/targets.mjs').Build} build @param {string} cpu */
const prefixOf = (build, cpu) => path.join('build/compute-library', libraryName(build, cpu))

/**
 * Equal for CPUs for which the same was made: the text with which a ComputeLibrary tells how it was built does not name the CPU.
 * @param {import('../../native/targets.mjs').Build} build
 * @param {string} cpu
 * @returns {Promise<string>}
 */
const digestOfLibrary = async (build, cpu) => (await fs.readJson(path.join(prefixOf(build, cpu), 'build.json'))).sha256
