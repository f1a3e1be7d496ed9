import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { describeToolchain, host } from './preflight.mjs'
import { messageOf } from './problem.mjs'
import { readSeries } from './series.mjs'
import { readJson } from './temporary.mjs'
import { targets } from './toolchains.mjs'

/**
 * For each kind of build, how it would be done on this machine, or what is missing for that.
 * @param {import('./layout.mjs').Layout} layout
 */
export async function toolchainsHere(layout) {
  const described = async (target, portable) =>
    describeToolchain(layout, target, portable).catch((error) => ({ missing: messageOf(error).split('\n') }))
  /** @type {Record<string, object>} */
  const toolchains = {}
  for (const target of targets) toolchains[target] = await described(target, false)
  toolchains['linux-arm64-portable'] = await described('linux-arm64', true)
  return { host, toolchains }
}

/**
 * What would be built here and with what, and what has been built.
 * @param {import('./layout.mjs').Layout} layout
 * @param {import('./lock.mjs').Lock} lock
 */
export async function info(layout, lock) {
  const series = await readSeries(layout).then(
    ({ digest, patches }) => ({ digest, patches: patches.map(({ name }) => name) }),
    (error) => ({ error: messageOf(error) }),
  )
  const built = []
  for (const name of await readdir(layout.build).catch(() => [])) {
    const stamp = await readJson(path.join(layout.build, name, 'build.json'))
    if (stamp) built.push({ prefix: layout.name(path.join(layout.build, name)), ...stamp })
  }
  return { ...(await toolchainsHere(layout)), lock, series, built }
}
