import path from 'node:path'
import { fs } from 'zx'
import { digestOfFile } from '../../acl/digest.mjs'
import { Problem } from '../../acl/problem.mjs'
import { checkAddon } from '../binaries/check.mjs'
import { summaryOf } from '../binaries/summary.mjs'

/** @param {string} folder of addons */
const readAddons = (folder) => fs.readJson(path.join(folder, 'addons.json'))

/**
 * Leaves one of the addons that came out identical: the one that asks least of the CPU.
 * @param {string} folder of addons
 * @param {(text: string) => void} say
 */
export async function dropCopies(folder, say) {
  const facts = await readAddons(folder)
  /** @type {Map<string, { file: string }>} */
  const kept = new Map()
  // From the least demanding.
  for (const addon of facts.addons.toReversed()) {
    const digest = await digestOfFile(path.join(folder, addon.file))
    const same = kept.get(digest)
    if (!same) kept.set(digest, addon)
    else {
      say(`${addon.file} is left out: the same bytes as ${same.file}`)
      await fs.remove(path.join(folder, addon.file))
    }
  }
  const addons = [...kept.values()].reverse()
  await fs.writeJson(path.join(folder, 'addons.json'), { ...facts, addons }, { spaces: 2 })
}

/**
 * Checks that every addon is what is promised of it.
 * @param {string} folder of addons
 * @param {(text: string) => void} say
 */
export async function checkAddons(folder, say) {
  const { platform, system, addons } = await readAddons(folder)
  if (!system)
    throw new Problem(`${folder}: built for this machine only`, 'for others: node tools/release/main.mjs pack')
  const linker = platform === 'darwin-arm64' && process.platform !== 'darwin' ? 'zig' : undefined
  for (const { file } of addons) {
    const facts = await checkAddon(path.join(folder, file), { platform, system, linker, forbidden: [process.cwd()] })
    say(summaryOf(facts))
  }
}
