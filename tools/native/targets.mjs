import os from 'node:os'
import path from 'node:path'
import { $ } from 'zx'
import { wordsOf } from '../acl/compilers.mjs'
import { hasHere, lackingHere } from '../acl/host-cpu.mjs'
import { appleClang, cpus, glibcVersion, macosVersion } from '../acl/toolchains.mjs'

/**
 * @typedef {object} Build what the addons are built for
 * @property {string} target `process.platform` and `process.arch` of where they are to run
 * @property {string[]} cpus what ComputeLibrary is compiled for, the most demanding first; none: without engine acl
 * @property {string} directory below packages/acl
 * @property {string} [toolchain] CMake's; without one, this machine's compiler
 * @property {string} [zig] the target as zig names it, where that is the compiler
 * @property {{ name: string, version: string }} [system] the oldest that the addons run on; without one, a system like this machine's
 */

const toolchain = (name) => path.join(import.meta.dirname, 'toolchains', `${name}.cmake`)

const host = `${os.platform()}-${os.arch()}`
const cpusOf = (target) => Object.keys(cpus).filter((name) => cpus[name].target === target)

const macos = {
  system: { name: 'macOS', version: macosVersion },
  ...(host !== 'darwin-arm64' && { toolchain: toolchain('darwin-arm64'), zig: `aarch64-macos.${macosVersion}` }),
}
const linux = (architecture) => ({
  system: { name: 'glibc', version: glibcVersion },
  toolchain: toolchain('linux-portable'),
  zig: `${architecture}-linux-gnu.${glibcVersion}`,
})

/** What binaries are published for, and how they are built to run on older systems than this one. @type {Record<string, Partial<Build>>} */
const released = { 'darwin-arm64': macos, 'linux-arm64': linux('aarch64'), 'linux-x64': linux('x86_64') }

/** How addons are built on this machine for another like it. @type {Record<string, Partial<Build>>} */
const crossBuilds = { 'darwin-arm64': macos, 'linux-arm64': { toolchain: toolchain('linux-arm64') } }

/**
 * CPUs, the most demanding first; of equal ones the preferred, else the newest.
 * @param {string[]} names
 * @param {string} [preferred]
 */
function byDemand(names, preferred) {
  const demands = (name) => cpus[name].requiredFeatures.length
  const isPreferred = (name) => Number(name === preferred)
  return names.toReversed().sort((a, b) => demands(b) - demands(a) || isPreferred(b) - isPreferred(a))
}

/**
 * What ComputeLibrary is compiled for on this machine: whatever the CPU's name, what uses most of the features that the system says it
 * has, and that the compiler knows; where the system says nothing, what needs least. Undefined: the CPU runs none.
 */
async function hostCpu() {
  const quiet = $({ nothrow: true, quiet: true })
  const isApple = process.platform === 'darwin'
  const brand = isApple ? (await quiet`sysctl -n machdep.cpu.brand_string`).stdout : ''
  const compiler = wordsOf(process.env.CXX || appleClang.cxx)
  const isKnown = async (name) =>
    !isApple || (await quiet`${compiler} -mcpu=${name} -x c++ -fsyntax-only /dev/null`).exitCode === 0
  const names = byDemand(cpusOf(host), `apple-${/Apple (M\d+)/.exec(brand)?.[1].toLowerCase()}`)
  for (const name of names) if ((await hasHere(cpus[name].requiredFeatures)) && (await isKnown(name))) return name
  const least = names.at(-1)
  return least && !(await lackingHere(cpus[least].requiredFeatures)).length ? least : undefined
}

/**
 * The build a command line asks for.
 * @param {{ target?: string, cpu?: string }} wanted `target` such as `linux-arm64`, default: that of `cpu`, else this machine;
 *   `cpu`: what ComputeLibrary is compiled for
 * @returns {Promise<Build>} its directory is where the API looks when no target was named and it is for this machine
 */
export async function buildFor({ target, cpu }) {
  if (cpu !== undefined && !cpus[cpu])
    throw new Error(`--cpu: expected one of ${Object.keys(cpus).join(', ')}, received '${cpu}'`)
  const chosen = target ?? (cpu ? cpus[cpu].target : host)
  if (chosen !== host && !crossBuilds[chosen])
    throw new Error(`--target: expected ${Object.keys(crossBuilds).join(' or ')}, received '${chosen}'`)
  if (cpu !== undefined && cpus[cpu].target !== chosen)
    throw new Error(`--cpu: expected one of ${cpusOf(chosen).join(', ')} for ${chosen}, received '${cpu}'`)
  const forHost = chosen === host && target === undefined
  const processor = cpu ?? (forHost ? await hostCpu() : cpusOf(chosen)[0])
  return {
    target: chosen,
    cpus: processor ? [processor] : [],
    directory: forHost ? 'build' : `build/${[chosen, processor].filter(Boolean).join('-')}`,
    ...(target && chosen === 'darwin-arm64' ? macos : chosen !== host && crossBuilds[chosen]),
  }
}

/**
 * The build that is published for a platform: with every ComputeLibrary that its CPUs can choose from.
 * @param {string | undefined} target
 * @param {(cpu: string) => boolean} [wanted] of these
 * @returns {Build}
 */
export function releaseBuild(target, wanted = () => true) {
  if (target === undefined || !released[target])
    throw new Error(`--target: expected ${Object.keys(released).join(', ')}, received '${target}'`)
  return {
    target,
    cpus: byDemand(cpusOf(target).filter(wanted)),
    directory: `build/release/${target}`,
    ...released[target],
  }
}

/**
 * The ComputeLibrary in a build: the name of its directory in build/compute-library, and of its Nx target.
 * @param {Build} build
 * @param {string} cpu
 */
export const libraryName = ({ target, system }, cpu) => `${target}-${cpu}${system?.name === 'glibc' ? '-portable' : ''}`

export { cpus }
