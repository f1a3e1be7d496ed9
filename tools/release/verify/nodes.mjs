import path from 'node:path'
import { $, fs } from 'zx'
import { hasHere } from '../../acl/host-cpu.mjs'
import { Unavailable } from '../../acl/problem.mjs'
import { emulatedNode, testEnvironment } from '../../arm64/node.mjs'
import { cpus, defaultCpu } from '../../qemu/cpu.mjs'
import { findToolchain } from '../../qemu/toolchain.mjs'
import { installLocked } from './locked.mjs'

const host = `${process.platform}-${process.arch}`

/**
 * @typedef {object} Node
 * @property {string} version
 * @property {string[]} command that runs it on this machine, with `flags`
 * @property {string[]} flags that its threads and processes need too
 * @property {NodeJS.ProcessEnv} env what vitest needs in its environment
 * @property {(features: string[]) => Promise<boolean>} has whether the CPU has features
 * @property {boolean} emulated
 */

/**
 * The Node.js versions that packages for a platform are verified on, emulated where they must be. On macOS, which has none in the
 * registry, the one that runs this.
 * @param {string} platform
 * @returns {Promise<Node[]>}
 */
export async function nodesFor(platform) {
  if (platform === 'darwin-arm64') {
    if (host !== platform) throw new Unavailable(`${platform} packages run on macOS only, and this is ${host}`)
    return [
      {
        version: process.version,
        command: [process.execPath],
        flags: [],
        env: process.env,
        has: hasHere,
        emulated: false,
      },
    ]
  }
  const emulated = platform !== host
  if (emulated) {
    const missing = platform === 'linux-arm64' ? (await findToolchain()).missing : ['an emulator of x64']
    if (missing.length) throw new Unavailable(`${platform} packages cannot run here`, ...missing)
  }
  const modules = await installLocked(path.join('nodes', platform))
  const emulatedHas = async (features) => features.every((name) => cpus[defaultCpu].features.includes(name))
  const has = emulated ? emulatedHas : hasHere
  const env = emulated ? await testEnvironment() : process.env
  const nodes = []
  for (const name of Object.keys(await readDependencies(platform))) {
    const binary = path.join(modules, name, 'bin/node')
    const { program, flags } = emulated ? await emulatedProgram(name, binary) : { program: binary, flags: [] }
    const command = [program, ...flags]
    const version = (await $({ quiet: true })`${command} --version`).stdout.trim()
    nodes.push({ version, command, flags, env, has, emulated })
  }
  return nodes
}

async function emulatedProgram(name, binary) {
  const { command, flags } = await emulatedNode(defaultCpu, binary, path.resolve('build/nodes/emulated', name))
  return { program: command, flags }
}

const readDependencies = async (platform) =>
  (await fs.readJson(path.join(import.meta.dirname, 'nodes', platform, 'package.json'))).dependencies
