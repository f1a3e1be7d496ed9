import path from 'node:path'
import Table from 'cli-table3'
import { fs } from 'zx'
import { digestOfFile } from '../../acl/digest.mjs'
import { Problem } from '../../acl/problem.mjs'
import { writeJson } from '../../acl/temporary.mjs'
import { benchPackage, libraryCpus, platformPackage, platforms, rootPackage } from '../platforms.mjs'
import { budgetOf } from './budgets.mjs'
import { libraryArchive, readManifest } from './library.mjs'

/** As npm pack names it. @param {string} name @param {string} version */
const tarballOf = (name, version) => `${name.replace('@', '').replace('/', '-')}-${version}.tgz`

/**
 * Lists what was packed, on this machine or on several whose parts were put together, checks its sizes, and, where nothing is
 * missing, writes release.json.
 * @param {object} options
 * @param {string} options.directory
 * @param {string} options.version
 * @param {(text: string) => void} options.say
 * @returns {Promise<string[]>} what is missing
 */
export async function collect({ directory, version, say }) {
  const describe = async (file) => {
    const place = path.join(directory, file)
    return { file, size: (await fs.stat(place)).size, sha256: await digestOfFile(place) }
  }
  const isThere = (file) => fs.pathExists(path.join(directory, file))
  /** @type {string[]} */
  const missing = []
  const npm = []
  // What others depend on comes first.
  for (const name of [...Object.keys(platforms).map(platformPackage), rootPackage, benchPackage]) {
    const file = `npm/${tarballOf(name, version)}`
    if (await isThere(file)) npm.push({ name, version, ...(await describe(file)) })
    else missing.push(file)
  }
  const assets = []
  for (const platform of Object.keys(platforms)) {
    const absent = new Set(libraryCpus(platform))
    for (const cpu of libraryCpus(platform)) {
      const file = `assets/${libraryArchive(platform, cpu, version)}`
      if (!(await isThere(file))) continue
      const { alsoFor, computeLibrary } = await readManifest(path.join(directory, file))
      const locked = computeLibrary?.source.locked ?? true
      assets.push({ ...(await describe(file)), alsoFor, ...(locked ? {} : { locked }) })
      for (const name of [cpu, ...alsoFor]) absent.delete(name)
    }
    missing.push(...[...absent].map((cpu) => `assets/${libraryArchive(platform, cpu, version)}`))
  }
  checkSizes([...npm, ...assets], say)

  const index = path.join(directory, 'release.json')
  await fs.remove(index)
  if (missing.length) return missing
  await writeJson(index, { version, tag: `v${version}`, npm, assets })
  say(`${directory}/release.json: ${npm.length} npm packages, ${assets.length} assets`)
  return []
}

/** @param {{ file: string, size: number }[]} packed @param {(text: string) => void} say */
function checkSizes(packed, say) {
  const table = new Table({
    head: ['file', 'kB', 'budget'],
    colAligns: ['left', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  })
  const over = []
  for (const { file, size } of packed) {
    const budget = budgetOf(path.basename(file))
    table.push([file, (size / 1000).toFixed(1), (budget / 1000).toFixed(0)])
    if (size > budget) over.push(`${file}: expected at most ${budget} bytes, received ${size}`)
  }
  say(table.toString())
  if (over.length) throw new Problem('larger than what was planned for (tools/release/pack/budgets.mjs)', ...over)
}
