// Builds and runs the native tests: node tools/native/test-kernels.mjs release|address,undefined|thread …
import { $ } from 'zx'
import { missingTools } from './preflight.mjs'

$.verbose = false
const source = 'packages/kernels'
const variants = process.argv.slice(2)

const missing = await missingTools()
if (missing.length) fail(missing.join('\n'))

for (const variant of variants) {
  const build = `${source}/build/${variant.replace(',', '-')}`
  const sanitize = variant === 'release' ? '' : variant
  const configured = await $({
    nothrow: true,
  })`cmake -S ${source} -B ${build} -DCMAKE_BUILD_TYPE=Release -DINTATTN_BUILD_TESTS=ON -DINTATTN_SANITIZE=${sanitize}`
  if (configured.exitCode !== 0) {
    if (/googletest/i.test(configured.text()) && !process.env.CI) {
      console.log(`SKIPPED native kernel tests (${variant}): GoogleTest is neither installed nor can it be downloaded.`)
      console.log('  get it: apt install libgtest-dev, brew install googletest')
      continue
    }
    fail(configured.text())
  }
  const built = await $({ nothrow: true })`cmake --build ${build} --parallel 2`
  if (built.exitCode !== 0) {
    if (sanitize && /cannot find.*(asan|ubsan|tsan)|clang_rt/i.test(built.text()) && !process.env.CI) {
      console.log(
        `SKIPPED native kernel tests (${variant}): this compiler has no run-time library for -fsanitize=${sanitize}.`,
      )
      continue
    }
    fail(built.text())
  }
  console.log(`native kernel tests, ${variant}`)
  const tested = await $({
    nothrow: true,
    stdio: ['ignore', 'inherit', 'inherit'],
  })`ctest --test-dir ${build} --output-on-failure --no-tests=error`
  if (tested.exitCode !== 0) process.exit(1)
}

function fail(text) {
  console.error(text)
  process.exit(1)
}
