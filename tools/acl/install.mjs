import { existsSync } from 'node:fs'
import { cp, mkdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { Problem } from './problem.mjs'

export const library = 'libarm_compute-static.a'
export const validationProgram = 'arm_compute_validation'

/** @param {string} from a file or directory */
const isHeader = (from) => !path.extname(from) || /\.(h|hpp|inl)$/.test(from)

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
