// Builds and runs the native tests: node tools/native/test-kernels.mjs VARIANT …, each one of
// release, address,undefined, thread (sanitizers), or an emulated arm64 CPU of tools/qemu/cpu.mjs.
import { $, which } from 'zx'
import { cpus, sysroot } from '../qemu/cpu.mjs'
import { findToolchain } from '../qemu/toolchain.mjs'
import { cmakeEnvironment } from './cmake-environment.mjs'
import { exclusively } from './exclusive.mjs'
import { requireTools } from './preflight.mjs'
import { buildFor } from './targets.mjs'

$.verbose = false
const source = 'packages/kernels'
/** A fifth of the random problems, where each takes some thirty times as long. */
const slow = { INTATTN_TEST_SHARE: '20' }

await requireTools(console.error).catch((error) => fail(error.message))
const environment = await cmakeEnvironment()

for (const variant of process.argv.slice(2))
  await test(variant, cpus[variant] ? await emulated(variant) : onThisMachine(variant))

function onThisMachine(variant) {
  const sanitize = variant === 'release' ? '' : variant
  return {
    directory: variant.replace(',', '-'),
    sanitize,
    definitions: [`-DINTATTN_SANITIZE=${sanitize}`],
    env: variant === 'thread' ? slow : {},
  }
}

async function emulated(cpu) {
  const { compiler, missing } = await findToolchain()
  if (missing.length) return { missing }
  const { toolchain } = await buildFor({ target: 'linux-arm64' })
  return {
    directory: 'linux-arm64',
    // On arm64 Linux itself there is nothing to cross, but the CPU is another.
    definitions: toolchain
      ? [`-DCMAKE_TOOLCHAIN_FILE=${toolchain}`, `-DINTATTN_CLANGXX=${await which(compiler.program)}`]
      : [`-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;${sysroot}`],
    env: { ...slow, QEMU_CPU: cpus[cpu].qemu },
  }
}

async function test(variant, { directory, sanitize, definitions, missing, env }) {
  if (missing) return skip(variant, missing.join('\n'))
  const build = `${source}/build/${directory}`
  const run = $({ nothrow: true, env: { ...environment, ...env } })
  const why = await exclusively(() => compile(build, { sanitize, definitions, run }))
  if (why) return skip(variant, why.reason, why.text)
  console.log(`native kernel tests, ${variant}`)
  const tested = await run({
    stdio: ['ignore', 'inherit', 'inherit'],
  })`ctest --test-dir ${build} --parallel 2 --output-on-failure --no-tests=error`
  if (tested.exitCode !== 0) process.exit(1)
}

/** @returns why that cannot be done here; undefined: it is done */
async function compile(build, { sanitize, definitions, run }) {
  const configured =
    await run`cmake -S ${source} -B ${build} -Wno-dev -DCMAKE_BUILD_TYPE=Release -DINTATTN_BUILD_TESTS=ON ${definitions}`
  if (configured.exitCode !== 0) {
    const text = configured.text()
    if (!/googletest-populate|for googletest failed/.test(text)) fail(text)
    return { reason: withoutGoogleTest(text), text }
  }
  if (/SIMDe is not installed/.test(configured.text()))
    skip(
      'AVX-512',
      'this CPU lacks it, and SIMDe is not installed.\n  get it: apt install libsimde-dev, brew install simde',
    )
  const built = await run`cmake --build ${build} --parallel 2`
  if (built.exitCode === 0) return undefined
  const text = built.text()
  if (!sanitize || !/cannot find.*(asan|ubsan|tsan)|clang_rt/i.test(text)) fail(text)
  return { reason: `this compiler has no run-time library for -fsanitize=${sanitize}.`, text }
}

/** @param {string} text what CMake printed */
const withoutGoogleTest = (text) =>
  text.includes('GoogleTest is built from source')
    ? "GoogleTest's source, to be built with the sanitizers, cannot be downloaded."
    : 'GoogleTest is neither installed nor can it be downloaded.\n  get it: apt install libgtest-dev, brew install googletest'

function skip(variant, reason, text = '') {
  if (process.env.CI) fail(`native kernel tests (${variant}): ${reason}\n${text}`)
  console.log(`SKIPPED native kernel tests (${variant}): ${reason}`)
}

function fail(text) {
  console.error(text)
  process.exit(1)
}
