// Builds packages/acl/build/Release/intattn.node with cmake-js; the compiler speaks only when something is wrong.
import { createRequire } from 'node:module'
import { $ } from 'zx'
import { missingTools } from './preflight.mjs'

const missing = await missingTools()
if (missing.length) {
  console.error(
    ['The native engine is built from source, and something for that is missing here.', ...missing].join('\n'),
  )
  process.exit(1)
}
const cmakeJs = createRequire(import.meta.resolve('../../packages/acl/package.json')).resolve('cmake-js/bin/cmake-js')
const built = await $({ nothrow: true, quiet: true, cwd: 'packages/acl' })`node ${cmakeJs} compile --parallel 2`
if (built.exitCode !== 0) {
  console.error(built.text())
  process.exit(1)
}
