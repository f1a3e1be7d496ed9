import path from 'node:path'
import { $, fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'
import { platformPackage, rootPackage } from '../platforms.mjs'
import { verifyLifecycle } from './lifecycle.mjs'
import { nodesFor } from './nodes.mjs'
import { plainEnvironment, withInstalled } from './project.mjs'
import { copyTraced } from './trace.mjs'

/** Relative L2 error that no engine may exceed on the trial's input; the largest is that of int8 steps. */
const worst = 0.05

/**
 * Installs the packed packages, computes attention there with every Node.js version and ends it in every way, and computes once more
 * where only those files are that a trace of the program finds.
 * @param {object} options
 * @param {string} options.platform
 * @param {string[]} options.tarballs
 * @param {(text: string) => void} options.say
 */
export async function verifyInstallation({ platform, tarballs, say }) {
  const nodes = await nodesFor(platform)
  await withInstalled({ name: rootPackage, platform, tarballs }, async (project) => {
    await checkArrived(project, platform)
    await fs.copy(path.join(import.meta.dirname, 'trial.mjs'), path.join(project, 'trial.mjs'))
    for (const node of nodes) {
      const { version, command, has } = node
      const { results, found } = await trial(project, command, has)
      await doctor(project, command, version)
      // Emulated, each takes minutes: there the newest Node.js stands for all, which a runner of that platform tries.
      const ends = !node.emulated || node === nodes.at(-1)
      if (ends) await verifyLifecycle({ project, node, env: plainEnvironment(node.env) })
      const shown = results.map(({ engine, isa, error }) => `${isa ?? engine} ${error.toFixed(4)}`).join(', ')
      say(
        `verified ${platform} on Node ${version}: relative L2 error ${shown}${ends ? '; workers and processes that end' : ''}`,
      )
      const absent = found.filter(({ available }) => !available)
      for (const { name, reason } of absent) say(`  without engine ${name}: ${reason}`)
    }
    const copy = path.join(project, 'traced')
    const addons = path.join('node_modules', platformPackage(platform))
    await copyTraced({ project, program: 'trial.mjs', addons, destination: copy })
    await fs.move(path.join(project, 'node_modules'), path.join(project, 'out of reach'))
    const [{ version, command, has }] = nodes
    await trial(copy, command, has)
    say(`verified ${platform} on Node ${version}: a traced copy`)
  })
}

/** @param {string} project @param {string} platform */
async function checkArrived(project, platform) {
  const arrived = (await fs.readdir(path.join(project, 'node_modules/@intattn')))
    .map((name) => `@intattn/${name}`)
    .sort()
  const expected = [rootPackage, platformPackage(platform)].sort()
  if (arrived.join() !== expected.join())
    throw new Problem(`installed for ${platform}: expected ${expected.join(', ')}, received ${arrived.join(', ')}`)
}

/** @param {string} project @param {string[]} command @param {(features: string[]) => Promise<boolean>} has whether the CPU has features */
async function trial(project, command, has) {
  const run = await $({ nothrow: true, quiet: true, cwd: project, env: plainEnvironment() })`${command} trial.mjs`
  if (run.exitCode !== 0) throw new Problem('the trial failed', run.stderr.trim())
  const facts = JSON.parse(run.stdout)
  const wrong = facts.results.filter(({ error }) => !(error < worst))
  if (wrong.length) throw new Problem(`relative L2 error: expected less than ${worst}`, JSON.stringify(wrong))
  const engines = new Set(facts.results.map(({ engine }) => engine))
  const expected = facts.platform.endsWith('-arm64') ? ['native', 'acl', 'reference'] : ['native', 'reference']
  const absent = expected.filter((name) => !engines.has(name))
  if (absent.length) throw new Problem(`no engine ${absent.join(', ')}`, JSON.stringify(facts.found, null, 2))
  await requireAllThatFit(facts.found, has)
  return facts
}

/**
 * That every instruction set is there that the CPU has: a build may lose one and still be right, only slow.
 * @param {{ instructionSets: { name: string, compiled: boolean, available: boolean, requires: string }[] }[]} found
 * @param {(features: string[]) => Promise<boolean>} has whether the CPU has features
 */
async function requireAllThatFit(found, has) {
  for (const { name, compiled, available, requires } of found.flatMap(({ instructionSets }) => instructionSets))
    if (!(compiled && available) && requires && (await has(requires.split(', '))))
      throw new Problem(`instruction set ${name}: expected, since the CPU has ${requires}, received none`)
}

/** The user's command, run by the same Node.js. @param {string} project @param {string[]} command @param {string} version */
async function doctor(project, command, version) {
  const { bin } = await fs.readJson(path.join(project, 'node_modules', rootPackage, 'package.json'))
  const program = path.join(project, 'node_modules', rootPackage, Object.values(bin)[0])
  const run = await $({
    nothrow: true,
    quiet: true,
    cwd: project,
    env: plainEnvironment(),
  })`${command} ${program} doctor --json`
  if (run.exitCode !== 0) throw new Problem(`doctor found something on Node ${version}`, run.text())
  const report = JSON.parse(run.stdout)
  const bad = report.places
    .flatMap(({ addons }) => addons)
    .filter(({ verdict }) => !['works', 'unfit'].includes(verdict))
  if (bad.length) throw new Problem(`doctor on Node ${version}`, JSON.stringify(bad, null, 2))
}
