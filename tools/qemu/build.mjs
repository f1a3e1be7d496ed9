import path from 'node:path'
import { $, fs, which } from 'zx'
import { cmakeEnvironment } from '../native/cmake-environment.mjs'

const here = import.meta.dirname

/** Where everything is built unless said otherwise. */
export const defaultBuild = path.join(here, 'build')

async function run(what, command) {
  const { exitCode, stdout, stderr } = await command
  if (exitCode === 0) return
  const lines = `${stdout}${stderr}`.split('\n').filter((line) => !/^\[\s*\d+[/%]/.test(line))
  throw new Error(`${what} failed\n${lines.join('\n')}`)
}

const modified = async (file) => (await fs.pathExists(file)) && (await fs.stat(file)).mtimeMs

/** QEMU's plugin, for the interface of the QEMU found here. */
export async function buildPlugin({ qemu, plugin }, build = defaultBuild) {
  // 1 is what QEMU 7.2 ... 8 take, 2 what QEMU 9 and newer take at least.
  const api = qemu.major < 9 ? 1 : 2
  const shared = path.join(build, `stage_count-${api}.so`)
  const source = path.join(here, 'plugin/stage_count.c')
  const newest = Math.max(await modified(source), await modified(path.join(here, 'plugin/qemu_plugin.h')))
  if ((await modified(shared)) > newest) return shared
  await fs.mkdirp(build)
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-fPIC', '-shared', '-fvisibility=hidden']
  // Renamed when complete: an emulator may be loading the one before.
  const made = `${shared}.${process.pid}`
  await run(
    'Building the plugin',
    $({ nothrow: true, quiet: true })`${plugin.program} ${flags} -DPLUGIN_API=${api} -o ${made} ${source}`,
  )
  await fs.rename(made, shared)
  return shared
}

/**
 * The program whose instructions are counted.
 * @param computeLibrary prefix of a built ComputeLibrary, for engine `acl`; without it the program has `native` only
 */
export async function buildProgram({ compiler }, computeLibrary, build = defaultBuild) {
  const directory = path.join(build, computeLibrary ? 'with-compute-library' : 'native-only')
  const cross = [`-DCMAKE_TOOLCHAIN_FILE=${path.join(here, '../native/toolchains/linux-arm64.cmake')}`]
  const options = [
    ...(process.arch === 'arm64' ? [`-DCMAKE_CXX_COMPILER=${compiler.program}`] : cross),
    `-DINTATTN_CLANGXX=${await which(compiler.program)}`,
    `-DINTATTN_COMPUTE_LIBRARY=${computeLibrary ? path.resolve(computeLibrary) : ''}`,
  ]
  const quiet = $({ nothrow: true, quiet: true, env: await cmakeEnvironment() })
  await run('Configuring the program', quiet`cmake -S ${path.join(here, 'program')} -B ${directory} ${options}`)
  await run('Building the program', quiet`cmake --build ${directory} --parallel 2`)
  return path.join(directory, 'count')
}

/** What countContender runs: { plugin, program }. */
export async function buildAll(toolchain, computeLibrary, build = defaultBuild) {
  const [plugin, program] = [await buildPlugin(toolchain, build), await buildProgram(toolchain, computeLibrary, build)]
  return { plugin, program }
}
