import os from 'node:os'
import path from 'node:path'
import { $ } from 'zx'
import { lackingHere } from '../acl/host-cpu.mjs'
import { cpus } from '../acl/toolchains.mjs'

const toolchain = (name) => path.join(import.meta.dirname, 'toolchains', name)

/** The CMake toolchains of the targets, for machines that are another. */
const toolchains = {
  'linux-arm64': toolchain('linux-arm64.cmake'),
  'darwin-arm64': toolchain('darwin-arm64.cmake'),
}

const host = `${os.platform()}-${os.arch()}`
const cpusOf = (target) => Object.keys(cpus).filter((name) => cpus[name].target === target)

/** What ComputeLibrary is compiled for on this machine: the CPU's own name, else the first it can run; undefined: none. */
async function hostCpu() {
  const fitting = []
  for (const name of cpusOf(host)) if (!(await lackingHere(cpus[name].requiredFeatures)).length) fitting.push(name)
  if (process.platform !== 'darwin') return fitting[0]
  const { stdout } = await $({ nothrow: true, quiet: true })`sysctl -n machdep.cpu.brand_string`
  const own = /Apple (M\d+)/.exec(stdout)?.[1].toLowerCase()
  return fitting.find((name) => name === `apple-${own}`) ?? fitting[0]
}

/**
 * The build a command line asks for.
 * @param target such as `linux-arm64`; undefined: that of `cpu`, else this machine
 * @param cpu what ComputeLibrary is compiled for
 * @returns {Promise<{ target: string, cpu?: string, directory: string, toolchain?: string }>} no `cpu`: without ComputeLibrary;
 * `toolchain` only for another machine; `directory` below packages/acl: where the API looks when no target was named and it is for
 * this machine
 */
export async function buildFor({ target, cpu }) {
  if (cpu !== undefined && !cpus[cpu])
    throw new Error(`--cpu: expected one of ${Object.keys(cpus).join(', ')}, received '${cpu}'`)
  const chosen = target ?? (cpu ? cpus[cpu].target : host)
  if (chosen !== host && !toolchains[chosen])
    throw new Error(`--target: expected ${Object.keys(toolchains).join(' or ')}, received '${chosen}'`)
  if (cpu !== undefined && cpus[cpu].target !== chosen)
    throw new Error(`--cpu: expected one of ${cpusOf(chosen).join(', ')} for ${chosen}, received '${cpu}'`)
  const forHost = chosen === host && target === undefined
  const processor = cpu ?? (forHost ? await hostCpu() : cpusOf(chosen)[0])
  return {
    target: chosen,
    cpu: processor,
    directory: forHost ? 'build' : `build/${chosen}-${processor}`,
    toolchain: chosen === host ? undefined : toolchains[chosen],
  }
}
