import os from 'node:os'
import path from 'node:path'
import { $, fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'
import { platformPackage, platforms, rootPackage } from '../platforms.mjs'
import { verifyLifecycle } from './lifecycle.mjs'
import { nodesFor } from './nodes.mjs'
import { startRegistry } from './registry.mjs'

/** Relative L2 error that no engine may exceed on the trial's input; the largest is that of int8 steps. */
const worst = 0.05

/**
 * Installs the packed packages as a user would, in an empty project with a registry that has nothing else and without scripts, and
 * computes attention there with every Node.js version, and ends it in every way.
 * @param {object} options
 * @param {string} options.platform
 * @param {string[]} options.tarballs
 * @param {(text: string) => void} options.say
 */
export async function verifyInstallation({ platform, tarballs, say }) {
  const nodes = await nodesFor(platform)
  const project = await fs.mkdtemp(path.join(os.tmpdir(), 'intattn-install-'))
  const registry = await startRegistry(tarballs)
  try {
    await install({ project, platform, registry: registry.url })
    // npm looks at every platform's package before it chooses; those that were not packed count as absent options.
    const foreign = registry.unknown.filter((name) => !name.startsWith(rootPackage))
    if (foreign.length) throw new Problem(`npm install asked for packages that are not ours: ${foreign.join(', ')}`)
    await checkArrived(project, platform)
    await fs.copy(path.join(import.meta.dirname, 'trial.mjs'), path.join(project, 'trial.mjs'))
    for (const node of nodes) {
      const { version, command, has } = node
      const { results, found } = await trial(project, command, has)
      await doctor(project, command, version)
      await verifyLifecycle({ project, node, env: environment(node.env) })
      const shown = results.map(({ engine, isa, error }) => `${isa ?? engine} ${error.toFixed(4)}`).join(', ')
      say(`verified ${platform} on Node ${version}: relative L2 error ${shown}`)
      const absent = found.filter(({ available }) => !available)
      for (const { name, reason } of absent) say(`  without engine ${name}: ${reason}`)
    }
  } finally {
    await registry.close()
    await fs.remove(project)
  }
}

/** @param {{ project: string, platform: string, registry: string }} options */
async function install({ project, platform, registry }) {
  const { os: system, cpu, libc } = platforms[platform]
  await fs.writeJson(path.join(project, 'package.json'), { name: 'empty', private: true, type: 'module' })
  await fs.writeFile(path.join(project, '.npmrc'), '')
  const nowhere = 'http://127.0.0.1:9'
  const env = {
    PATH: process.env.PATH,
    HOME: project,
    npm_config_userconfig: path.join(project, '.npmrc'),
    npm_config_globalconfig: path.join(project, 'none'),
    npm_config_cache: path.join(project, '.cache'),
    npm_config_registry: registry,
    npm_config_ignore_scripts: 'true',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
    ...{ http_proxy: nowhere, https_proxy: nowhere, no_proxy: '127.0.0.1' },
  }
  // On its own platform npm chooses by itself.
  const own = platform === `${process.platform}-${process.arch}`
  const flags = own ? [] : [`--os=${system}`, `--cpu=${cpu}`, ...(libc ? [`--libc=${libc}`] : [])]
  const installed = await $({ nothrow: true, quiet: true, cwd: project, env })`npm install ${rootPackage} ${flags}`
  if (installed.exitCode !== 0)
    throw new Problem(`npm install ${rootPackage} for ${platform} failed`, installed.stderr.trim())
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
  const run = await $({ nothrow: true, quiet: true, cwd: project, env: environment() })`${command} trial.mjs`
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
    env: environment(),
  })`${command} ${program} doctor --json`
  if (run.exitCode !== 0) throw new Problem(`doctor found something on Node ${version}`, run.text())
  const report = JSON.parse(run.stdout)
  const bad = report.places
    .flatMap(({ addons }) => addons)
    .filter(({ verdict }) => !['works', 'unfit'].includes(verdict))
  if (bad.length) throw new Problem(`doctor on Node ${version}`, JSON.stringify(bad, null, 2))
}

/** Without what would choose another engine or other addons. */
function environment(of = process.env) {
  const { INTATTN_ADDONS, INTATTN_ENGINE, INTATTN_ISA, ...env } = of
  return env
}
