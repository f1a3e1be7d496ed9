// The step of acl:build that its parts do not cover: nx run acl:build --target linux-arm64|darwin-arm64 [--cpu CPU], also written
// acl:build:linux-arm64, builds ComputeLibrary and the addon for another machine, or for one CPU, into
// packages/acl/build/TARGET-CPU/Release.
import { parseArgs } from 'node:util'
import { $ } from 'zx'
import { buildAddon } from './build-addon.mjs'
import { buildComputeLibrary } from './compute-library.mjs'
import { buildFor } from './targets.mjs'

try {
  const { values } = parseArgs({ options: { target: { type: 'string' }, cpu: { type: 'string' } } })
  values.target ??= await targetThatNxDropped()
  if (values.target ?? values.cpu) {
    const build = await buildFor(values)
    const reason = build.cpu && (await buildComputeLibrary(build))
    if (reason) throw new Error(reason)
    await buildAddon(build)
    console.log(`packages/acl/${build.directory}/Release: the addon for ${build.target}, ${build.cpu}`)
  }
} catch (error) {
  console.error(error.message)
  process.exit(1)
}

/** Nx has a flag --target of its own and passes it to no command: its command line still has it. */
async function targetThatNxDropped() {
  const nx = process.env.NX_INVOCATION_ROOT_PID
  if (!nx) return undefined
  const { stdout } = await $({ nothrow: true, quiet: true })`ps -o args= -p ${nx}`
  return / --target[= ](\S+)/.exec(stdout)?.[1]
}
