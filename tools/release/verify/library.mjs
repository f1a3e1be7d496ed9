import os from 'node:os'
import path from 'node:path'
import * as tar from 'tar'
import { $, fs } from 'zx'
import { digestOfFile } from '../../acl/digest.mjs'
import { Problem, Unavailable } from '../../acl/problem.mjs'
import { toolchainDefinitions } from '../../native/build-addon.mjs'
import { cmakeEnvironment } from '../../native/cmake-environment.mjs'
import { buildFor } from '../../native/targets.mjs'
import { defaultCpu, emulator } from '../../qemu/cpu.mjs'
import { findToolchain } from '../../qemu/toolchain.mjs'
import { filesBelow } from '../pack/archive.mjs'

const host = `${process.platform}-${process.arch}`
/** The programs of examples/cpp. */
const examples = ['example', 'block_attention', 'kv_cache']

/**
 * Unpacks a C++ tarball somewhere, compares it with its manifest, builds the examples that are in it as a user would, and runs them.
 * @param {object} options
 * @param {string} options.archive
 * @param {(text: string) => void} options.say
 */
export async function verifyLibrary({ archive, say }) {
  const place = await fs.mkdtemp(path.join(os.tmpdir(), 'intattn-library-'))
  try {
    await tar.extract({ file: archive, cwd: place })
    const folder = path.join(place, path.basename(archive, '.tar.gz'))
    const manifest = await fs.readJson(path.join(folder, 'manifest.json'))
    await checkFiles(folder, manifest)
    const build = await buildExamples(folder, manifest.platform)
    const prefix = manifest.platform === host ? [] : await emulatorFor(manifest.platform)
    const lines = []
    for (const name of examples) {
      const run = await $({ nothrow: true, quiet: true })`${prefix} ${path.join(build, name)}`
      if (run.exitCode !== 0)
        throw new Problem(`${archive}: ${name} failed (${run.signal ?? run.exitCode})`, run.text())
      lines.push(...run.stdout.trim().split('\n'))
    }
    say(`verified ${path.basename(archive)}: ${lines.join('; ')}`)
  } finally {
    await fs.remove(place)
  }
}

/** @param {string} folder @param {{ files: Record<string, { size: number, sha256: string }> }} manifest */
async function checkFiles(folder, { files }) {
  const there = (await filesBelow(folder)).filter((name) => name !== 'manifest.json')
  if (there.join('\n') !== Object.keys(files).sort().join('\n'))
    throw new Problem(
      `${path.basename(folder)}: expected the files of its manifest`,
      ...there.filter((name) => !files[name]),
    )
  for (const [name, { sha256 }] of Object.entries(files)) {
    const digest = await digestOfFile(path.join(folder, name))
    if (digest !== sha256)
      throw new Problem(`${path.basename(folder)}: ${name}: expected ${sha256}, received ${digest}`)
  }
}

/** @param {string} folder @param {string} platform @returns {Promise<string>} where the programs are */
async function buildExamples(folder, platform) {
  const definitions = {
    ...(await toolchainDefinitions(await buildFor({ target: platform }))),
    CMAKE_BUILD_TYPE: 'Release',
  }
  const flags = Object.entries(definitions).map(([name, value]) => `-D${name}=${value}`)
  const build = path.join(folder, 'build')
  const quiet = $({ nothrow: true, quiet: true, env: await cmakeEnvironment() })
  const package_ = `-DIntAttn_DIR=${path.join(folder, 'lib/cmake/IntAttn')}`
  const configured = await quiet`cmake -S ${path.join(folder, 'example')} -B ${build} ${package_} ${flags}`
  if (configured.exitCode !== 0) throw new Problem('the examples cannot be configured', configured.text())
  const built = await quiet`cmake --build ${build}`
  if (built.exitCode !== 0) throw new Problem('the examples do not build', built.text())
  return build
}

/** @param {string} platform @returns {Promise<string[]>} */
async function emulatorFor(platform) {
  const missing = platform === 'linux-arm64' ? (await findToolchain()).missing : [`this is ${host}`]
  if (missing.length) throw new Unavailable(`programs for ${platform} cannot run here`, ...missing)
  return emulator(defaultCpu)
}
