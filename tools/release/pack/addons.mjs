import path from 'node:path'
import { fs } from 'zx'
import { digestOfFile } from '../../acl/digest.mjs'
import { Problem } from '../../acl/problem.mjs'
import { checkAddon } from '../binaries/check.mjs'
import { summaryOf } from '../binaries/summary.mjs'

/** @param {string} folder of addons */
const readAddons = (folder) => fs.readJson(path.join(folder, 'addons.json'))

/**
 * Leaves one of the addons that came out identical, and one of those between which the CPU's features do not decide: that which asks
 * least, and of equal ones the one for the older CPU.
 * @param {string} folder of addons, the most demanding first
 * @param {(text: string) => void} say
 * @param {(cpu: string) => Promise<string>} codeOf equal for CPUs whose ComputeLibraries, all that an addon has of its CPU, are the same
 * code: the addons themselves differ by the text that names it, and by what signs that
 */
export async function dropCopies(folder, say, codeOf) {
  const facts = await readAddons(folder)
  /** @type {{ code: string, demands: string, addon: any }[]} */
  const kept = []
  for (const addon of facts.addons.toReversed()) {
    const code = await (addon.cpu ? codeOf(addon.cpu) : digestOfFile(path.join(folder, addon.file)))
    const demands = [addon.engine, ...addon.requiredFeatures.toSorted()].join()
    const same = kept.find((one) => one.code === code)
    const equal = kept.find((one) => one.demands === demands)
    if (!same && !equal) {
      kept.push({ code, demands, addon })
      continue
    }
    const reason = same ? `the same code as ${same.addon.file}` : `${equal?.addon.file} asks for the same CPU features`
    say(`${addon.file} is left out: ${reason}`)
    await fs.remove(path.join(folder, addon.file))
  }
  const addons = kept.map(({ addon }) => addon).reverse()
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
  for (const { file, size, sha256 } of addons) {
    const place = path.join(folder, file)
    if ((await fs.stat(place)).size !== size || (await digestOfFile(place)) !== sha256)
      throw new Problem(`${place}: not the file whose size and digest addons.json has`)
    const facts = await checkAddon(place, { platform, system, linker, forbidden: [process.cwd()] })
    say(summaryOf(facts))
  }
}
