import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { Problem } from '../../acl/problem.mjs'
import { findBuildPaths } from './build-paths.mjs'
import { examineLinux } from './linux.mjs'
import { examineMacos } from './macos.mjs'
import { violations } from './rules.mjs'

/** Bytes of an addon at most. */
export const sizeLimit = 6_000_000
/** Bytes of what is read at all. */
const readLimit = 256 * 1024 * 1024

/** @type {Map<string, { cpu: string, system: string, examine: typeof examineLinux | typeof examineMacos }>} */
const platforms = new Map([
  ['darwin-arm64', { cpu: 'arm64', system: 'macOS', examine: examineMacos }],
  ['linux-arm64', { cpu: 'arm64', system: 'glibc', examine: examineLinux }],
  ['linux-x64', { cpu: 'x64', system: 'glibc', examine: examineLinux }],
])

/** @param {string} file */
async function read(file) {
  const found = await stat(file).catch((error) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR')
      throw new Problem(`${file}: expected an addon, received no file`)
    throw error
  })
  if (!found.isFile()) throw new Problem(`${file}: expected an addon, received what is not a file`)
  if (found.size > readLimit) throw new Problem(`${file}: expected at most ${sizeLimit} bytes, received ${found.size}`)
  return readFile(file)
}

/**
 * Whether an addon runs wherever it is meant to, and brings nothing along that it should not.
 * @param {string} file
 * @param {object} demanded
 * @param {string} demanded.platform `${process.platform}-${process.arch}`
 * @param {{ name: string, version: string }} demanded.system the oldest one it is to run on: glibc or macOS
 * @param {string[]} [demanded.forbidden] beginnings of paths of the machine that made it, such as that of the sources; homes and
 *   temporary directories are found without
 * @param {'zig'} [demanded.linker] of an addon for macOS: one that leaves C++'s weak symbols visible and local ones in the file
 * @returns the facts; a Problem with a line for each thing wrong otherwise
 */
export async function checkAddon(file, { platform, system, linker, forbidden = [] }) {
  const known = platforms.get(platform)
  if (!known) throw new Problem(`platform: expected one of ${[...platforms.keys()].join(', ')}, received ${platform}`)
  if (system.name !== known.system || !/^\d+(\.\d+)*$/.test(system.version))
    throw new Problem(`system: expected ${known.system} and its version, received ${system.name} ${system.version}`)
  for (const place of forbidden)
    if (!/^\/./.test(place)) throw new Problem(`forbidden: expected beginnings of absolute paths, received '${place}'`)
  const content = await read(file)
  const { facts, rules } = known.examine(file, content, { cpu: known.cpu, version: system.version, linker })
  const wrong = violations([
    ...rules,
    { expected: 'no path of the machine that made it', received: findBuildPaths(content, forbidden) },
    {
      expected: `at most ${sizeLimit} bytes`,
      received: content.length > sizeLimit ? [`${content.length}`] : [],
    },
  ])
  if (wrong.length) throw new Problem(...wrong.map((line) => `${file}: ${line}`))
  return { name: path.basename(file), platform, size: content.length, system, ...facts }
}

/** @typedef {Awaited<ReturnType<typeof checkAddon>>} AddonFacts */
