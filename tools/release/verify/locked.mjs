import path from 'node:path'
import { $, fs } from 'zx'

/**
 * Installs packages that are no part of the workspace, as a folder here locks them, unless they are there.
 * @param {string} name of the folder: with package.json, package-lock.json and .npmrc
 * @returns {Promise<string>} the node_modules with them
 */
export async function installLocked(name) {
  const [source, place] = [path.join(import.meta.dirname, name), path.resolve('build', name)]
  const lock = await fs.readFile(path.join(source, 'package-lock.json'), 'utf8')
  const stamp = path.join(place, 'installed.json')
  if ((await fs.readFile(stamp, 'utf8').catch(() => '')) !== lock) {
    await fs.emptyDir(place)
    for (const file of ['package.json', 'package-lock.json', '.npmrc'])
      await fs.copy(path.join(source, file), path.join(place, file))
    // --force: some are for another machine.
    await $({ quiet: true, cwd: place })`npm ci --force`
    await fs.writeFile(stamp, lock)
  }
  return path.join(place, 'node_modules')
}
