// The step of acl:build that its parts do not cover: nx run acl:build --target linux-arm64|darwin-arm64 [--cpu CPU], also written
// acl:build:linux-arm64, builds ComputeLibrary and the addon for another machine, or for one CPU, into
// packages/acl/build/TARGET-CPU/Release.
import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { $ } from 'zx'
import { targets } from '../acl/toolchains.mjs'
import { buildAddon } from './build-addon.mjs'
import { buildComputeLibraries } from './compute-library.mjs'
import { buildFor } from './targets.mjs'

try {
  const { values } = parseArgs({ options: { target: { type: 'string' }, cpu: { type: 'string' } } })
  values.target ??= await targetThatNxDropped()
  if (values.target ?? values.cpu) {
    const build = await buildFor(values)
    await buildComputeLibraries(build)
    await buildAddon(build)
    console.log(`packages/acl/${build.directory}/Release: the addons for ${build.target}, ${build.cpus}`)
  }
} catch (error) {
  console.error(error.message)
  process.exit(1)
}

/**
 * Nx has a flag --target of its own, for the name of a task, and passes it to no command: its command line still has it. Another task
 * than `run acl:build` may have started this one: what follows --target is then ours only when it is a target of ours.
 */
async function targetThatNxDropped() {
  const nx = process.env.NX_INVOCATION_ROOT_PID
  if (!nx) return undefined
  const words = await commandLineOf(nx)
  const at = words.findIndex((word) => /^--target(=|$)/.test(word))
  const value = words[at]?.split('=')[1] ?? words[at + 1]
  return at !== -1 && (targets.includes(value) || words.includes('acl:build')) ? value : undefined
}

/** @param {string} id of a process */
async function commandLineOf(id) {
  const whole = await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')
  if (whole) return whole.split('\0')
  const { stdout } = await $({ nothrow: true, quiet: true })`ps -ww -o args= -p ${id}`
  if (!stdout.trim()) throw new Error(`Nx's command line cannot be read: neither /proc nor ps has process ${id}`)
  return stdout.trim().split(/\s+/)
}
