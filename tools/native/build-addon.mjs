// Builds the addon with cmake-js; the compiler speaks only when something is wrong.
// node tools/native/build-addon.mjs [--target linux-arm64|darwin-arm64] [--cpu CPU] [--optional]
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { $, fs } from 'zx'
import { findToolchain } from '../qemu/toolchain.mjs'
import { missingTools } from './preflight.mjs'
import { buildFor } from './targets.mjs'

/** Builds both addons into packages/acl/DIRECTORY/Release: that of engine acl where its ComputeLibrary is there. */
export async function buildAddon({ target, cpu, directory, toolchain }) {
  const missing = await missingTools()
  if (missing.length)
    throw new Error(
      ['The native engine is built from source, and something for that is missing here.', ...missing].join('\n'),
    )
  const prefix = path.resolve('build/compute-library', `${target}-${cpu}`)
  const definitions = {
    CMAKE_TOOLCHAIN_FILE: toolchain,
    INTATTN_COMPUTE_LIBRARY: cpu && (await fs.pathExists(path.join(prefix, 'build.json'))) ? prefix : '',
  }
  const flags = Object.entries(definitions)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `--CD${name}=${value}`)
  const require = createRequire(import.meta.resolve('../../packages/acl/package.json'))
  const cmakeJs = require.resolve('cmake-js/bin/cmake-js')
  // Configured every time: what `compile` finds configured it leaves as it is, with whatever definitions that had.
  for (const step of ['configure', 'build']) {
    const done = await $({ nothrow: true, quiet: true, cwd: 'packages/acl' })`
      node ${cmakeJs} ${step} --parallel 2 --out ${directory} ${flags}`
    if (done.exitCode !== 0) throw new Error(done.text())
  }
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
