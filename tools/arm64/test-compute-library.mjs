// Runs ComputeLibrary's own tests of IndexSoftmax and Softmax on an emulated CPU, on arm64 too: this machine's own may lack what the
// library needs.
import path from 'node:path'
import { $ } from 'zx'
import { tryComputeLibraries } from '../native/compute-library.mjs'
import { buildFor, libraryName } from '../native/targets.mjs'
import { defaultCpu, emulator } from '../qemu/cpu.mjs'
import { findToolchain } from '../qemu/toolchain.mjs'

/**
 * What is run at the same time. The patch's operator with several threads too; upstream's Softmax, which nothing here changes, takes a
 * minute for each type. Upstream's own tests in bfloat16 want SVE and crash on every core that has the one without the other.
 */
const runs = [
  { what: 'float16 Softmax', filter: '^(?!.*(BF16|IndexSoftmax|Quantized))(?=.*FP16).*Softmax.*', threads: 1 },
  { what: 'other float Softmax', filter: '^(?!.*(BF16|FP16|IndexSoftmax|Quantized)).*Softmax.*', threads: 1 },
  { what: 'quantized Softmax', filter: '^(?!.*IndexSoftmax)(?=.*Quantized).*Softmax.*', threads: 1 },
  ...[1, 3].map((threads) => ({ what: 'IndexSoftmax', filter: '.*IndexSoftmax.*', threads })),
]
const build = await buildFor({ target: 'linux-arm64' })

const { missing } = await findToolchain()
if (missing.length) {
  if (process.env.CI) end(missing.join('\n'))
  console.log(["SKIPPED ComputeLibrary's own tests", ...missing].join('\n'))
  process.exit(0)
}
try {
  if (!(await tryComputeLibraries(build, 'its own tests are left out'))) process.exit(0)
} catch (error) {
  end(error.message)
}

const inherit = { nothrow: true, stdio: ['ignore', 'inherit', 'inherit'] }
const built = await $(
  inherit,
)`node tools/acl/main.mjs build --target ${build.target} --cpu ${build.cpus[0]} --validation`
if (built.exitCode !== 0) end('the tests were not built')
const program = path.join('build/compute-library', libraryName(build, build.cpus[0]), 'bin/arm_compute_validation')
const results = runs.map(async ({ what, filter, threads }) => {
  const run = await $({
    nothrow: true,
    quiet: true,
  })`${emulator(defaultCpu)} ${program} --filter=${filter} --threads=${threads} --seed=1 --mode=precommit --log-level=errors`
  const executed = run.text().match(/Executed (\d+) test\(s\) \((\d+) passed/)
  if (run.exitCode !== 0 || !(Number(executed?.[1]) > 0)) end(run.text())
  console.log(`ComputeLibrary's own tests, ${what}, threads ${threads}: ${executed[2]} of ${executed[1]} passed`)
})
await Promise.all(results)

function end(message) {
  console.error(message)
  process.exit(1)
}
