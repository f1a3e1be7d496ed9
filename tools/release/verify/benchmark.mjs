import os from 'node:os'
import path from 'node:path'
import { $, fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'
import { benchPackage } from '../platforms.mjs'
import { installedDependencies, packFolders } from './dependencies.mjs'
import { nodesFor } from './nodes.mjs'
import { plainEnvironment, withInstalled } from './project.mjs'
import { readPackage } from './read-package.mjs'

/**
 * Installs the packed benchmark in an empty project, and measures there with every Node.js version, on the input that it brings, and
 * once as who has nothing does: by npx.
 * @param {object} options
 * @param {string} options.platform this one
 * @param {string[]} options.tarballs
 * @param {(text: string) => void} options.say
 */
export async function verifyBenchmark({ platform, tarballs, say }) {
  const nodes = await nodesFor(platform)
  const place = await fs.mkdtemp(path.join(os.tmpdir(), 'intattn-dependencies-'))
  try {
    const others = await packFolders(await dependencies(tarballs, place), place)
    await withInstalled({ name: benchPackage, platform, tarballs: [...tarballs, ...others] }, async (project, env) => {
      const unasked = await fs.pathExists(path.join(project, 'node_modules', peer))
      if (unasked) throw new Problem(`npm install ${benchPackage} installed ${peer}, which nobody asked for`)
      for (const { version, command } of nodes) {
        await measure(project, command)
        await refusePeer(project, command)
        say(`verified ${benchPackage} on Node ${version}`)
      }
      const run = $({ nothrow: true, quiet: true, cwd: place, env })
      const { exitCode, stdout, stderr } = await run`npx --yes ${benchPackage} --pipe 3 --L 256 --runs 5`
      if (exitCode !== 0 || !isTable(stdout)) throw new Problem(`npx ${benchPackage} failed`, stdout, stderr)
      say(`verified npx ${benchPackage}`)
    })
  } finally {
    await fs.remove(place)
  }
}

/** What users add who want to compare. */
const peer = 'onnxruntime-node'

/**
 * The folders of all that npm looks for, the peer among them, of which there is but a name here.
 * @param {string[]} tarballs @param {string} place for what is made
 */
async function dependencies(tarballs, place) {
  const manifests = await Promise.all(tarballs.map(readPackage))
  const manifest = manifests.find(({ name }) => name === benchPackage)
  const folder = path.resolve('packages/bench')
  const placeholder = path.join(place, peer)
  await fs.outputJson(path.join(placeholder, 'package.json'), {
    name: peer,
    version: manifest.peerDependencies[peer].replace('^', ''),
  })
  const all = await installedDependencies({ dependencies: manifest.dependencies }, folder)
  return [...all, placeholder]
}

/** The command that npm linked. */
const program = path.join('node_modules', '.bin', 'intattn-bench')

/** @param {string} project */
const runIn = (project) => $({ nothrow: true, quiet: true, cwd: project, env: plainEnvironment() })

/** Whether there is a row for each preset of the pipeline that was asked for. @param {string} text */
const isTable = (text) =>
  ['paper', 'precise'].every((preset) => new RegExp(`^int +native .* ${preset} `, 'm').test(text))

/** @param {string} project @param {string[]} command */
async function measure(project, command) {
  const flags = ['--pipe', '3', '--engine', 'native', '--warmup', '0', '--runs', '2', '--json', 'result.json']
  const { exitCode, stdout, stderr } = await runIn(project)`${command} ${program} ${flags}`
  if (exitCode !== 0 || !isTable(stdout)) throw new Problem('the benchmark failed', stdout, stderr)
  const { schema, results } = await fs.readJson(path.join(project, 'result.json'))
  const sound = results.filter(({ medianMs, accuracy }) => medianMs > 0 && accuracy.relL2 < 0.2)
  if (schema !== 'intattn-bench/1' || sound.length !== 2)
    throw new Problem('the benchmark: expected two sound results in its JSON, received', JSON.stringify(results))
}

/** The other engine is not installed with it, and the message says how to get it. @param {string} project @param {string[]} command */
async function refusePeer(project, command) {
  const { exitCode, stderr } = await runIn(project)`${command} ${program} --peer onnxruntime`
  if (exitCode !== 2 || !/onnxruntime-node to load \(remedy: .*onnxruntime-node/.test(stderr))
    throw new Problem('--peer onnxruntime: expected a remedy and exit code 2', `received ${exitCode}`, stderr)
}
