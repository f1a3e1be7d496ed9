// Builds the addons with cmake-js; the compiler speaks only when something is wrong.
// node tools/native/build-addon.mjs [--target linux-arm64|darwin-arm64] [--cpu CPU] [--optional]
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { $, fs } from 'zx'
import { digestOfFile } from '../acl/digest.mjs'
import { requireZig } from '../acl/preflight.mjs'
import { findToolchain } from '../qemu/toolchain.mjs'
import { requireCrossCompiler } from './cross-compiler.mjs'
import { exclusively } from './exclusive.mjs'
import { readLinkedLibraries } from './linked-libraries.mjs'
import { cmakeEnvironment, missingTools } from './preflight.mjs'
import { buildFor } from './targets.mjs'

const addonPackage = 'packages/acl'

/**
 * CMake's variables that say how to compile for a build.
 * @param {import('./targets.mjs').Build} build
 */
export async function toolchainDefinitions({ toolchain, zig, system }) {
  return {
    ...(toolchain && { CMAKE_TOOLCHAIN_FILE: toolchain }),
    ...(toolchain && !zig && { INTATTN_CLANGXX: await requireCrossCompiler() }),
    ...(zig && { INTATTN_ZIG: await requireZig(console.error), INTATTN_ZIG_TARGET: zig }),
    ...(system?.name === 'macOS' && !zig && { CMAKE_OSX_DEPLOYMENT_TARGET: system.version }),
  }
}

/**
 * Builds, when no other process builds in this checkout, into packages/acl/DIRECTORY/Release: `intattn.node`, an
 * `intattn_acl-CPU.node` for each ComputeLibrary that is there, and `addons.json`, from which the API chooses.
 * @param {import('./targets.mjs').Build} build
 */
export const buildAddon = (build) =>
  exclusively(async ({ waitedSince, alsoOf }) => {
    // Of the same inputs, as Nx knows: built by whoever was waited for, and perhaps in use by now.
    const stamp = path.join(addonPackage, build.directory, 'built.json')
    const inputs = process.env.NX_TASK_HASH
    if (waitedSince !== undefined && inputs !== undefined) {
      const stats = await fs.stat(stamp).catch(() => undefined)
      if (stats && stats.mtimeMs >= waitedSince && (await fs.readJson(stamp)).inputs === inputs) return
    }
    await buildAnew(build, alsoOf)
    await fs.writeJson(stamp, { inputs })
  })

/**
 * @param {import('./targets.mjs').Build} build
 * @param {(program: number) => void} started is told the processes that may outlive this one
 */
async function buildAnew(build, started) {
  const missing = await missingTools()
  if (missing.length)
    throw new Error(
      ['The native engine is built from source, and something for that is missing here.', ...missing].join('\n'),
    )
  const libraries = await readLinkedLibraries(build)
  const definitions = {
    ...(await toolchainDefinitions(build)),
    INTATTN_COMPUTE_LIBRARIES: libraries.map(({ cpu, prefix }) => `${cpu}=${prefix}`).join(';'),
  }
  const flags = Object.entries(definitions).map(([name, value]) => `--CD${name}=${value}`)
  const require = createRequire(import.meta.resolve(`../../${addonPackage}/package.json`))
  const cmakeJs = require.resolve('cmake-js/bin/cmake-js')
  const release = path.join(addonPackage, build.directory, 'Release')
  // What an earlier build left would look like a part of this one.
  await fs.remove(release)
  // Configured anew every time: definitions of before would stay, those that are empty now (which cmake-js leaves out) too.
  await fs.remove(path.join(addonPackage, build.directory, 'CMakeCache.txt'))
  const env = await cmakeEnvironment()
  for (const step of ['configure', 'build']) {
    const running = $({ nothrow: true, quiet: true, cwd: addonPackage, env })`
      node ${cmakeJs} ${step} --parallel 2 --out ${build.directory} ${flags}`
    if (running.pid) started(running.pid)
    const done = await running
    if (done.exitCode !== 0) throw new Error(done.text())
  }
  await fs.writeJson(path.join(release, 'addons.json'), await describe(build, libraries, release), { spaces: 2 })
}

/**
 * What the API has to know before it loads an addon.
 * @param {import('./targets.mjs').Build} build
 * @param {Awaited<ReturnType<typeof readLinkedLibraries>>} libraries
 * @param {string} release the folder of the addons
 */
async function describe({ target, system }, libraries, release) {
  const { version } = await fs.readJson(path.join(addonPackage, 'package.json'))
  const acl = libraries.map(({ cpu, facts }) => ({
    ...{ engine: 'acl', file: `intattn_acl-${cpu}.node`, cpu },
    ...{ computeLibrary: facts.version, compiler: facts.compiler, requiredFeatures: facts.requiredFeatures },
  }))
  const native = { engine: 'native', file: 'intattn.node', requiredFeatures: [] }
  const addons = []
  for (const { engine, file, ...others } of [native, ...acl]) {
    const place = path.join(release, file)
    const { size } = await fs.stat(place)
    addons.push({ engine, file, size, sha256: await digestOfFile(place), ...others })
  }
  return { version, platform: target, ...(system && { system }), addons }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  try {
    const { values } = parseArgs({
      options: { target: { type: 'string' }, cpu: { type: 'string' }, optional: { type: 'boolean' } },
    })
    const build = await buildFor(values)
    const missing = build.toolchain && values.optional && !process.env.CI ? (await findToolchain()).missing : []
    if (missing.length) console.log([`SKIPPED the addon for ${build.target}`, ...missing].join('\n'))
    else await buildAddon(build)
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
