// Builds ComputeLibrary for engine acl, through Nx, which knows whether that was done before:
// node tools/native/compute-library.mjs [--target linux-arm64|darwin-arm64] [--cpu CPU] [--optional]
// Without --target for this machine, where it is arm64. What cannot be built here is an error when a target was named, or with CI=true;
// else, and with --optional, it is said, and engine acl is left out.
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { $ } from 'zx'
import { buildFor } from './targets.mjs'

const acl = 'tools/acl/main.mjs'
/** Exit code of tools/acl when a tool or the source cannot be had here. */
const unavailable = 3

/** @returns why there is none, or undefined when it is there */
export async function buildComputeLibrary({ target, cpu }) {
  const inherit = { nothrow: true, stdio: ['ignore', 'inherit', 'inherit'] }
  const { toolchains } = JSON.parse((await $({ quiet: true })`node ${acl} info --toolchains`).stdout)
  const { missing } = toolchains[target]
  if (missing) return missing.join('\n')
  const fetched = await $({ nothrow: true, quiet: true })`node ${acl} fetch`
  if (fetched.exitCode === unavailable) return fetched.stderr.trim()
  if (fetched.exitCode !== 0) throw new Error(fetched.stderr.trim())
  const task = `compute-library:${target}-${cpu}`
  const { exitCode } = await $(inherit)`npx nx run ${task} --output-style=stream`
  if (exitCode !== 0) throw new Error(`${task} failed`)
  return undefined
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  try {
    const { values } = parseArgs({
      options: { target: { type: 'string' }, cpu: { type: 'string' }, optional: { type: 'boolean' } },
    })
    const { target, cpu } = await buildFor(values)
    const reason = cpu && (await buildComputeLibrary({ target, cpu }))
    const required = process.env.CI || (values.target && !values.optional)
    if (reason && required) throw new Error(reason)
    if (!cpu && target.endsWith('-arm64')) console.log('engine acl is left out: ComputeLibrary is built for newer CPUs')
    if (reason) console.log(`SKIPPED ComputeLibrary for ${target}: engine acl is left out\n${reason}`)
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
