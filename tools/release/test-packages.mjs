// Packs what this machine can run, and verifies it as users will: a part of the tests. One ComputeLibrary stands for those that a release
// has; for macOS, which nothing here runs, the native engine alone is packed and inspected.
import { $ } from 'zx'
import { Unavailable } from '../acl/problem.mjs'
import { canInstall } from '../acl/python.mjs'
import { tryComputeLibraries } from '../native/compute-library.mjs'
import { buildFor, releaseBuild } from '../native/targets.mjs'
import { findToolchain } from '../qemu/toolchain.mjs'

const main = 'tools/release/main.mjs'
const directory = 'build/release-test'
/** Exit code where a tool or the source cannot be had here. */
const unavailable = new Unavailable().exitCode
const run = async (...args) => {
  const { exitCode } = await $({
    nothrow: true,
    stdio: ['ignore', 'inherit', 'inherit'],
  })`node ${main} ${args} --directory ${directory}`
  if (exitCode === unavailable && !process.env.CI) {
    console.log('SKIPPED packing and verifying packages: what is missing is said above')
    process.exit(0)
  }
  if (exitCode !== 0) process.exit(exitCode)
}

/** Outside CI, a ComputeLibrary that cannot be built here is no reason for all tests to fail. @param {string} target @param {string} cpu */
async function requireLibraries(target, cpu) {
  if (process.env.CI) return
  try {
    for (const build of [releaseBuild(target, (name) => name === cpu), await buildFor({ target, cpu })])
      if (!(await tryComputeLibraries(build, 'packages are neither packed nor verified'))) process.exit(0)
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
}

if (process.platform === 'darwin') {
  await requireLibraries('darwin-arm64', 'apple-m1')
  await run('pack', '--allow-unlocked', '--cpu', 'apple-m1')
  await run('verify')
} else {
  const { missing } = await findToolchain()
  if (!(await canInstall()))
    missing.push('missing: python3-venv, with which zig is installed\n  get it: apt install python3-venv')
  if (missing.length && process.env.CI) {
    console.error(missing.join('\n'))
    process.exit(1)
  }
  if (missing.length) console.log(['SKIPPED packing and verifying packages', ...missing].join('\n'))
  else {
    await requireLibraries('linux-arm64', 'armv8.6-a')
    await run('pack', '--allow-unlocked', '--cpu', 'armv8.6-a')
    await run('verify')
  }
}
