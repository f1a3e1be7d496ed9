import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { compilerEnvironment } from './compilers.mjs'
import { driftedCopies, readCopies } from './copies.mjs'
import { digestOfFile } from './digest.mjs'
import { lackingHere } from './host-cpu.mjs'
import { checkLibrary } from './inspect.mjs'
import { install, library, replace, validationProgram } from './install.mjs'
import { choose, host, requireToolchain, requireTuning } from './preflight.mjs'
import { linkProbe } from './probe.mjs'
import { Problem, WrongCommand } from './problem.mjs'
import { recipeOf, sconsArguments } from './recipe.mjs'
import { Failed, runScons } from './scons.mjs'
import { readSeries } from './series.mjs'
import { sourceOf } from './sources/source.mjs'
import { alone, beside, readJson, writeJson } from './temporary.mjs'
import { macosVersion } from './toolchains.mjs'
import { prepareTree } from './tree.mjs'

/** The patch's build file for ComputeLibrary's tests with a tailored library, which ComputeLibrary itself does not build. */
const tests = 'tests/tailored/SConscript'

/**
 * Fetches, patches and builds ComputeLibrary, or says that this is done already.
 * @param {import('./layout.mjs').Layout} layout
 * @param {import('./lock.mjs').Lock} lock
 * @param {object} options
 * @param {string} [options.target]
 * @param {string} [options.cpu]
 * @param {boolean} [options.portable]
 * @param {boolean} [options.full] every operator
 * @param {boolean} [options.validation] ComputeLibrary's own tests too, those with `Softmax` in their file's name
 * @param {number} options.jobs
 * @param {string} [options.named] ACL_SOURCE
 * @param {boolean} [options.allowUnlocked]
 * @param {(text: string) => void} options.say
 */
export async function build(layout, lock, options) {
  const { full = false, validation = false, jobs, named, allowUnlocked, say } = options
  const { target, cpu, portable } = choose(options)
  if (validation && target !== 'linux-arm64')
    throw new WrongCommand(`--validation: expected --target linux-arm64 (the tests run there), received ${target}`)
  const found = await requireToolchain(layout, target, portable, say)
  const series = await readSeries(layout)
  for (const { what } of driftedCopies(series, await readCopies(layout)))
    say(`warning: ${what}; the build has the patch's (refresh --copies brings it up to date)`)
  const source = await sourceOf(layout, lock, { named, allowUnlocked, say })
  const recipe = recipeOf({ source, series, target, cpu, full, found })

  const lacking = host === target ? await lackingHere(recipe.requiredFeatures) : []
  if (lacking.length) say(`warning: this machine's CPU lacks ${lacking.join(', ')}: it cannot run a build for ${cpu}`)

  const prefix = layout.prefix({ target, cpu, portable })
  const place = layout.name(prefix)
  const stamp = path.join(prefix, 'build.json')
  await alone(path.join(prefix, '.lock'), `building in ${place}`, async (started) => {
    if (await isUpToDate(prefix, recipe.key, validation)) {
      say(`${place} is up to date: ComputeLibrary ${source.version}, ${recipe.compiler}`)
      return
    }
    const cache = path.join(layout.build, 'zig-cache')
    await requireTuning(found, cpu, await compilerEnvironment(found, prefix, cache))
    const env = await compilerEnvironment(found, prefix, cache, recipe.flags.tuning)
    const tree = path.join(prefix, 'tree')
    await prepareTree(layout, tree, source, series, { say, edited: 'aside' })
    if (validation && !existsSync(path.join(tree, tests))) throw new Problem(`--validation: the series has no ${tests}`)
    // What scons had no time or room to write down looks finished to the next one.
    const unfinished = path.join(prefix, 'unfinished')
    if (existsSync(unfinished)) await rm(path.join(tree, 'build'), { recursive: true, force: true })
    const log = path.join(prefix, 'build.log')
    await rm(log, { force: true })
    const common = { scons: found.scons, tree, jobs, env, log, logName: layout.name(log), started }
    const args = sconsArguments(recipe)
    say(`building ComputeLibrary ${source.version} for ${target}, ${cpu} (${recipe.compiler}); log: ${common.logName}`)
    await writeFile(unfinished, '')
    try {
      await runScons({ ...common, args: [...args, `build/${library}`], what: 'ComputeLibrary' })
      const files = ['-f', 'SConstruct', '-f', tests]
      const wanted = ['test_filter=*Softmax*.cpp', `build/tests/${validationProgram}`]
      if (validation) await runScons({ ...common, args: [...files, ...args, ...wanted], what: 'validation tests' })
    } catch (error) {
      if (error instanceof Failed) await rm(unfinished)
      throw error
    }
    await rm(unfinished)

    await beside(path.join(prefix, 'installed'), async (installed) => {
      await install(tree, installed, validation)
      const made = path.join(installed, 'lib', library)
      const objects = await checkLibrary(made, target, macosVersion)
      await linkProbe({ env, flags: found.toolchain.linkFlags, prefix: installed, library: made, full })
      const sha256 = await digestOfFile(made)
      // The stamp goes first and comes last: a prefix without one is not finished.
      await rm(stamp, { force: true })
      await replace(installed, prefix)
      if (validation) await writeJson(validated(prefix), { key: recipe.key })
      await writeJson(stamp, { ...recipe, objects, sha256 })
      say(`built ${place}/lib/${library} (${objects} objects)`)
    })
  })
}

/**
 * Says of which build the tests in a prefix are. Not a part of build.json: the library is the same with them and without.
 * @param {string} prefix
 */
const validated = (prefix) => path.join(prefix, 'bin/validation.json')

/**
 * @param {string} prefix
 * @param {string} key
 * @param {boolean} validation
 */
async function isUpToDate(prefix, key, validation) {
  const last = await readJson(path.join(prefix, 'build.json'))
  const archive = path.join(prefix, 'lib', library)
  const parts = [archive, path.join(prefix, 'include/arm_compute')]
  if (validation) parts.push(path.join(prefix, 'bin', validationProgram))
  if (last?.key !== key || !parts.every((part) => existsSync(part))) return false
  if (validation && (await readJson(validated(prefix)))?.key !== key) return false
  return (await digestOfFile(archive)) === last.sha256
}
