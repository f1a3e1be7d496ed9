// Builds the kernels as a static library for C++ users: node tools/native/build-kernels.mjs --target linux-x64|linux-arm64|darwin-arm64
// Installs it with headers and CMake package into packages/kernels/build/release/TARGET.
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { $, fs } from 'zx'
import { toolchainDefinitions } from './build-addon.mjs'
import { exclusively } from './exclusive.mjs'
import { cmakeEnvironment, missingTools } from './preflight.mjs'
import { buildFor } from './targets.mjs'

const source = 'packages/kernels'

/** Where the library for a target is installed. */
export const kernelsPrefix = (target) => `${source}/build/release/${target}`

/**
 * With the compiler that C++ programs for the target are built with here, so that they share its C++ library.
 * @param {string} target
 */
export async function buildKernels(target) {
  const missing = await missingTools()
  if (missing.length) throw new Error(missing.join('\n'))
  const prefix = kernelsPrefix(target)
  const build = `${source}/build/static-${target}`
  const options = { ...(await toolchainDefinitions(await buildFor({ target }))), CMAKE_BUILD_TYPE: 'Release' }
  const flags = Object.entries({ ...options, INTATTN_INSTALL: 'ON' }).map(([name, value]) => `-D${name}=${value}`)
  const run = async (command) => {
    const done = await command
    if (done.exitCode !== 0) throw new Error(done.text())
  }
  const quiet = $({ nothrow: true, quiet: true, env: await cmakeEnvironment() })
  await exclusively(async () => {
    await fs.remove(prefix)
    await run(quiet`cmake -S ${source} -B ${build} -Wno-dev ${flags}`)
    await run(quiet`cmake --build ${build} --parallel 2`)
    await run(quiet`cmake --install ${build} --prefix ${prefix}`)
  })
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  try {
    const { values } = parseArgs({ options: { target: { type: 'string' } } })
    if (!values.target) throw new Error('--target: expected a platform, received none')
    await buildKernels(values.target)
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
