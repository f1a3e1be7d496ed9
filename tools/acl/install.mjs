import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { Problem } from './problem.mjs'

export const library = 'libarm_compute-static.a'
export const validationProgram = 'arm_compute_validation'

/** @param {string} from a file or directory */
const isHeader = (from) => !path.extname(from) || /\.(h|hpp|inl)$/.test(from)

/** @param {string} name a path */
const isLicence = (name) => /(^|\/)(LICENSES\/[^/]+|(licen[cs]e|copying|notice)[\w-]*(\.(txt|md))?)$/i.test(name)

/** What ComputeLibrary has from others: headers that are installed with it, and what is compiled into it. */
const ofOthers = ['include/half', 'third_party']

/** Its files are under Apache-2.0, whose text ComputeLibrary itself may have for both. */
const kleidiai = 'third_party/kleidiai'

/**
 * Copies the licences of what ComputeLibrary has from others.
 * @param {string} tree
 * @param {string} place with ComputeLibrary's own
 */
async function copyLicencesOfOthers(tree, place) {
  /** @type {string[]} */
  const found = []
  for (const folder of ofOthers.filter((name) => existsSync(path.join(tree, name)))) {
    const entries = await readdir(path.join(tree, folder), { recursive: true, withFileTypes: true })
    const files = entries.filter((entry) => entry.isFile())
    const names = files.map((entry) => path.relative(tree, path.join(entry.parentPath, entry.name)))
    found.push(...names.filter(isLicence))
  }
  for (const name of found) await cp(path.join(tree, name), path.join(place, name))
  const licensed = existsSync(path.join(place, 'Apache-2.0.txt')) || found.some((name) => name.startsWith(kleidiai))
  if (existsSync(path.join(tree, kleidiai)) && !licensed)
    throw new Problem(
      `a library with ${kleidiai} is installed with its licence, which this ComputeLibrary does not have`,
    )
}

/**
 * Copies what users of the library need from a built tree.
 * @param {string} tree
 * @param {string} place
 * @param {boolean} validation with the test program
 */
export async function install(tree, place, validation) {
  for (const [from, to] of [
    ['arm_compute', 'include/arm_compute'],
    ['support', 'include/support'],
    ['include/half', 'include/half'],
    ['LICENSES', 'LICENSES'],
  ]) {
    if (!existsSync(path.join(tree, from)))
      throw new Problem(`a library is installed with ${from}, which this ComputeLibrary does not have`)
    const filter = to.startsWith('include/') ? isHeader : undefined
    await cp(path.join(tree, from), path.join(place, to), { recursive: true, filter })
  }
  await copyLicencesOfOthers(tree, path.join(place, 'LICENSES'))
  await mkdir(path.join(place, 'lib'), { recursive: true })
  await cp(path.join(tree, 'build', library), path.join(place, 'lib', library))
  if (!validation) return
  await mkdir(path.join(place, 'bin'))
  await cp(path.join(tree, 'build/tests', validationProgram), path.join(place, 'bin', validationProgram))
}

/**
 * Moves an installation to its place.
 * @param {string} installed
 * @param {string} prefix
 */
export async function replace(installed, prefix) {
  for (const name of ['include', 'lib', 'bin', 'LICENSES']) {
    await rm(path.join(prefix, name), { recursive: true, force: true })
    if (existsSync(path.join(installed, name))) await rename(path.join(installed, name), path.join(prefix, name))
  }
}
