// Builds ComputeLibrary for engine acl, through Nx, which knows whether that was done before:
// node tools/native/compute-library.mjs [--target linux-arm64|darwin-arm64] [--cpu CPU] [--optional]
// Without --target for this machine, where it is arm64. What cannot be built here is an error when a target was named, or with CI=true;
// else, and with --optional, it is said, and engine acl is left out.
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { $ } from 'zx'
import { lackingHere } from '../acl/host-cpu.mjs'
import { writeLinkedLibraries } from './linked-libraries.mjs'
import { buildFor, cpus, libraryName } from './targets.mjs'

const acl = 'tools/acl/main.mjs'
/** Exit code of tools/acl when a tool or the source cannot be had here. */
const unavailable = 3

/**
 * Builds every ComputeLibrary of a build, for its addons to be linked with.
 * @param {import('./targets.mjs').Build} build
 * @returns {Promise<string | undefined>} why there is none, or undefined when all of them are there
 */
export async function buildComputeLibraries(build) {
  await writeLinkedLibraries(build, [])
  const reason = await buildAll(build)
  if (!reason) await writeLinkedLibraries(build, build.cpus)
  return reason
}

async function buildAll(build) {
  if (build.cpus.length === 0) return undefined
  const { toolchains } = JSON.parse((await $({ quiet: true })`node ${acl} info --toolchains`).stdout)
  const { missing } = toolchains[build.system?.name === 'glibc' ? `${build.target}-portable` : build.target]
  if (missing) return missing.join('\n')
  const fetched = await $({ nothrow: true, quiet: true, stdio: ['ignore', 'pipe', 'inherit'] })`node ${acl} fetch`
  if (fetched.exitCode === unavailable) return 'Its source cannot be had here, as said above.'
  if (fetched.exitCode !== 0) throw new Error("ComputeLibrary's source was refused, as said above")
  for (const cpu of build.cpus) {
    const task = `compute-library:${libraryName(build, cpu)}`
    /** @type {Partial<import('zx').Options>} */
    const inherit = { nothrow: true, stdio: ['ignore', 'inherit', 'inherit'] }
    // ACL_SOURCE may be the name of what has another content now: Nx is told the content.
    const env = { ...process.env, ACL_SOURCE_DIGEST: fetched.stdout.trim() }
    const { exitCode } = await $({ ...inherit, env })`npx nx run ${task} --output-style=stream`
    if (exitCode !== 0) throw new Error(`${task} failed`)
  }
  return undefined
}

/** Why a build for this machine has no ComputeLibrary; undefined where there is none for any CPU. */
async function whyNone({ target }) {
  const names = Object.keys(cpus).filter((name) => cpus[name].target === target)
  const lacks = await Promise.all(
    names.map(async (cpu) => ({ cpu, lacking: await lackingHere(cpus[cpu].requiredFeatures) })),
  )
  const [least] = lacks.sort((a, b) => a.lacking.length - b.lacking.length)
  return least && `ComputeLibrary for ${least.cpu} needs ${least.lacking.join(', ')}, which this CPU lacks`
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  try {
    const { values } = parseArgs({
      options: { target: { type: 'string' }, cpu: { type: 'string' }, optional: { type: 'boolean' } },
    })
    const build = await buildFor(values)
    const reason = await buildComputeLibraries(build)
    const required = process.env.CI || (values.target && !values.optional)
    if (reason && required) throw new Error(reason)
    const none = build.cpus.length ? undefined : await whyNone(build)
    if (none) console.log(`engine acl is left out: ${none}`)
    if (reason) console.log(`SKIPPED ComputeLibrary for ${build.target}: engine acl is left out\n${reason}`)
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
