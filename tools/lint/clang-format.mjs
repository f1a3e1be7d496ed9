// Checks the format of all C++ sources against .clang-format, or with --write applies it. The formatter is WebAssembly, so that its
// version, and with it the result, is the same on every machine.
import { readFile, writeFile } from 'node:fs/promises'
import { format } from '@wasm-fmt/clang-format'
import { glob } from 'zx'

const style = await readFile('.clang-format', 'utf8')
const write = process.argv.includes('--write')
let different = 0
for (const file of await glob([
  'packages/*/{include,src,tests,native}/**/*.{cc,h}',
  'tools/*/{,plugin/,program/,tests/}*.{c,cc,h}',
])) {
  const before = await readFile(file, 'utf8')
  const after = format(before, file, style)
  if (after === before) continue
  different += 1
  console.log(write ? `formatted ${file}` : `not formatted: ${file}`)
  if (write) await writeFile(file, after)
}
if (different && !write) {
  console.error('Run npm run format.')
  process.exit(1)
}
