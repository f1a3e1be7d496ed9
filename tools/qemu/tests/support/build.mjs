import { buildAll } from '../../build.mjs'
import {
  defaultComputeLibrary,
  findToolchain,
  isComputeLibrary,
  missingComputeLibrary,
  recordedCompiler,
} from '../../toolchain.mjs'

/** Builds plugin and program once; without the tools a named skip, in CI a failure. */
export default async function setup({ provide }) {
  const toolchain = await findToolchain()
  const { missing, compiler } = toolchain
  const unrecorded =
    compiler && compiler.name !== recordedCompiler
      ? [`other: ${compiler.name}; counts are recorded for ${recordedCompiler}\n  get it: apt install clang-19 lld-19`]
      : []
  const library = isComputeLibrary(defaultComputeLibrary) ? [] : [missingComputeLibrary(defaultComputeLibrary)]
  const lines = [...missing, ...unrecorded]
  if ((lines.length || library.length) && process.env.CI)
    throw new Error(
      `Instructions cannot be counted here, and CI leaves nothing out.\n${[...lines, ...library].join('\n')}`,
    )
  if (missing.length) console.log(`SKIPPED instruction counts:\n${missing.join('\n')}`)
  else if (unrecorded.length) console.log(`SKIPPED comparison with recorded counts:\n${unrecorded.join('\n')}`)
  if (!missing.length && library.length) console.log(`SKIPPED comparison with ComputeLibrary:\n${library.join('\n')}`)
  provide('computeLibrary', missing.length || library.length ? null : defaultComputeLibrary)
  provide('recorded', lines.length === 0)
  provide('built', missing.length ? null : { ...(await buildAll(toolchain)), toolchain })
}
