import { statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { lockCommand, recordSource } from '../lock.mjs'
import { Problem } from '../problem.mjs'
import { alone } from '../temporary.mjs'
import { experienceWith } from '../versions.mjs'
import { debianSource } from './debian.mjs'
import { directorySource } from './directory.mjs'
import { gitSource, presentCheckout } from './git.mjs'
import { readRecord } from './record.mjs'
import { tarballSource } from './tarball.mjs'

/**
 * The pristine source that ACL_SOURCE names: unset, the tag of the lock; `debian`; a directory; a tarball. What is not
 * here yet is fetched; what is, is verified.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @param {{ named?: string, allowUnlocked?: boolean, say: (text: string) => void }} options
 * @returns {Promise<import('./record.mjs').Source>}
 */
export async function sourceOf(layout, lock, { named = '', allowUnlocked = false, say }) {
  const chosen = async () => {
    if (named === '') return gitSource(layout, lock, { say })
    if (named === 'debian') return debianSource(layout, lock, { say })
    const status = statSync(named, { throwIfNoEntry: false })
    if (!status)
      throw new Problem(
        `ACL_SOURCE: expected a directory, a tarball or "debian", received ${named}, which is not there`,
      )
    if (status.isDirectory()) return directorySource(layout, lock, named, { allowUnlocked })
    return tarballSource(layout, lock, named, { say, allowUnlocked })
  }
  const source = await alone(path.join(layout.sources, '.lock'), 'fetch', chosen, { patience: 600, say })
  if (!source.locked) {
    say(`NOT LOCKED: nothing vouches for this ComputeLibrary ${source.version}; build.json will say so`)
    if (source.kind === 'git') say(`to lock what was fetched: ${lockCommand}, and commit ${layout.name(layout.lock)}`)
  }
  const { status, text } = experienceWith(lock, source.version)
  if (status !== 'tested' && status !== 'expected') say(`the series with ComputeLibrary ${source.version}: ${text}`)
  return source
}

/**
 * Records commit and digest of the tag, as it was fetched first, in the lock; what was recorded before is only verified.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @param {{ say: (text: string) => void }} options
 * @returns {Promise<string>} what changed in the lock, as a patch; empty when nothing did
 */
export const lockSource = (layout, lock, { say }) =>
  alone(
    path.join(layout.sources, '.lock'),
    'lock',
    async () => {
      const { version, commit, digest } = await gitSource(layout, lock, { say })
      const place = layout.name(layout.lock)
      const what = `commit ${commit} of ${lock.tag}, ComputeLibrary ${version}`
      if (lock.commit !== null) {
        say(`${place} has it, and the files are its: ${what}`)
        return ''
      }
      if (!commit) throw new Problem(`${layout.name(layout.checkout)}: of no known commit`, 'remove it and run lock')
      const change = await recordSource(layout, { commit, digest })
      say(`recorded in ${place}: ${what}`)
      say(`compare the commit with ${lock.git}, then commit this change:`)
      return change
    },
    { patience: 600, say },
  )

/**
 * Every source that is here already.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @param {{ named?: string, allowUnlocked?: boolean, say: (text: string) => void }} options
 */
export async function sourcesAtHand(layout, lock, options) {
  const sources = [await presentCheckout(layout, lock)]
  if (options.named) sources.push(await sourceOf(layout, lock, options))
  for (const name of await readdir(layout.sources).catch(() => [])) {
    const place = path.join(layout.sources, name)
    if (/^[0-9a-f]{16}$/.test(name))
      sources.push(
        await readRecord(lock, path.join(place, 'source.json'), path.join(place, 'tree'), layout.name(place)),
      )
  }
  const found = new Map(sources.flatMap((source) => (source ? [[source.digest, source]] : [])))
  return [...found.values()]
}
