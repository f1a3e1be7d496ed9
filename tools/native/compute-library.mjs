// Builds ComputeLibrary for engine acl, through Nx, which knows whether that was done before:
// node tools/native/compute-library.mjs [--target linux-arm64|darwin-arm64] [--cpu CPU] [--optional]
// Without --target for this machine, where it is arm64. What cannot be fetched, patched or built is an error when target or CPU was named,
// or with CI=true; else, and with --optional, it is said, and engine acl is left out.
import { realpathSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { $, fs } from 'zx'
import { lackingHere } from '../acl/host-cpu.mjs'
import { Problem, Unavailable } from '../acl/problem.mjs'
import { writeLinkedLibraries } from './linked-libraries.mjs'
import { requireTools } from './preflight.mjs'
import { buildFor, cpus, libraryName } from './targets.mjs'

const acl = 'tools/acl/main.mjs'

/**
 * Builds every ComputeLibrary of a build, for its addons to be linked with; fails before that when these cannot be built. Throws a
 * Problem when there is none, an Unavailable when a tool or the source cannot be had here.
 * @param {import('./targets.mjs').Build} build
 */
export async function buildComputeLibraries(build) {
  await writeLinkedLibraries(build, [])
  if (build.cpus.length === 0) return
  const what = `no ComputeLibrary for ${build.target}, ${build.cpus.join(', ')}`
  const { toolchains } = JSON.parse((await $({ quiet: true })`node ${acl} info --toolchains`).stdout)
  const { missing } = toolchains[build.system?.name === 'glibc' ? `${build.target}-portable` : build.target]
  if (missing) throw new Unavailable(what, ...missing)
  await requireTools(console.error)
  // ACL_SOURCE may be the name of what has another content now: Nx is told the content.
  const env = { ...process.env, ACL_SOURCE_DIGEST: await fetchSource(what) }
  for (const cpu of build.cpus) {
    const name = libraryName(build, cpu)
    const log = path.join('build/compute-library', name, 'build.log')
    const began = Date.now()
    const run = $({ nothrow: true, stdio: ['ignore', 'inherit', 'inherit'], env })
    const built = await run`npx nx run ${`compute-library:${name}`} --output-style=stream`
    if (built.exitCode === 0) continue
    failUnlessInterrupted(built)
    const written = await fs.stat(log).catch(() => undefined)
    const place = written && written.mtimeMs >= began ? `; everything the compiler printed: ${log}` : ''
    throw new Problem(what, `compute-library:${name} failed, as said above${place}`)
  }
  await writeLinkedLibraries(build, build.cpus)
}

/**
 * Fetches the source, or verifies the one that is here.
 * @param {string} what for messages
 * @returns {Promise<string>} the digest of its files
 */
async function fetchSource(what) {
  const log = path.join('build/compute-library', 'fetch.log')
  const fetching = $({ nothrow: true, quiet: true, stdio: ['ignore', 'pipe', 'pipe'] })`node ${acl} fetch`
  fetching.stderr.pipe(process.stderr, { end: false })
  const fetched = await fetching
  await fs.outputFile(log, fetched.stderr)
  if (fetched.exitCode === 0) return fetched.stdout.trim()
  failUnlessInterrupted(fetched)
  const last = fetched.stderr.trim().split('\n').slice(-3)
  const isUnavailable = fetched.exitCode === new Unavailable().exitCode
  const reason = isUnavailable ? 'its source cannot be had here:' : 'its source was refused:'
  throw new (isUnavailable ? Unavailable : Problem)(what, reason, ...last, `everything that was said: ${log}`)
}

/** Whoever stops a build wants no other one. @param {import('zx').ProcessOutput} done */
function failUnlessInterrupted({ exitCode, signal }) {
  if (signal || Number(exitCode) > 128) throw new Error('interrupted')
}

/**
 * As buildComputeLibraries, but outside CI what is not there is said, and left out.
 * @param {import('./targets.mjs').Build} build
 * @param {string} consequence
 * @returns {Promise<boolean>} whether they are there
 */
export async function tryComputeLibraries(build, consequence) {
  try {
    await buildComputeLibraries(build)
    return true
  } catch (error) {
    if (process.env.CI || !(error instanceof Problem)) throw error
    const line = '!'.repeat(80)
    console.log(`${line}\nSKIPPED ComputeLibrary for ${build.target}: ${consequence}\n${error.message}\n${line}`)
    return false
  }
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

if (import.meta.filename === realpathSync(process.argv[1]))
  try {
    const { values } = parseArgs({
      options: { target: { type: 'string' }, cpu: { type: 'string' }, optional: { type: 'boolean' } },
    })
    const build = await buildFor(values)
    if ((values.target ?? values.cpu) && !values.optional) await buildComputeLibraries(build)
    else await tryComputeLibraries(build, 'engine acl is left out')
    const none = build.cpus.length ? undefined : await whyNone(build)
    if (none) console.log(`engine acl is left out: ${none}`)
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
