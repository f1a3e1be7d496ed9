import path from 'node:path'
import { fs } from 'zx'
import { layoutOf } from '../../acl/layout.mjs'
import { lockCommand, readLock } from '../../acl/lock.mjs'
import { Problem } from '../../acl/problem.mjs'

const remedy = `to lock it: ${lockCommand}, and commit the change; for a trial: --allow-unlocked`

/**
 * Refuses what would be built from a ComputeLibrary that nothing vouches for, before it is built.
 * @param {{ root?: string, named?: string }} [options] `named`: ACL_SOURCE, which is refused later where it is not locked
 */
export async function requireLock({ root = process.cwd(), named = process.env.ACL_SOURCE } = {}) {
  const layout = layoutOf(root)
  const { tag, commit } = await readLock(layout)
  if (commit === null && !named) throw new Problem(`${layout.name(layout.lock)}: ${tag} is not locked`, remedy)
}

/**
 * Throws a Problem, or with `allowUnlocked` says it, when one of these libraries was built from such a source.
 * @param {string[]} prefixes of ComputeLibraries
 * @param {{ allowUnlocked?: boolean, say: (text: string) => void }} options
 */
export async function requireLocked(prefixes, { allowUnlocked = false, say }) {
  for (const prefix of prefixes) {
    const { version, source } = await fs.readJson(path.join(prefix, 'build.json'))
    if (source.locked) continue
    const what = `${prefix}: built from a ComputeLibrary ${version} that is not locked`
    if (!allowUnlocked) throw new Problem(what, remedy)
    say(`warning: ${what}: not for a release (${lockCommand})`)
  }
}
