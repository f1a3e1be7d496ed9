// Runs the tests of packages/acl on arm64 Linux, emulated where this machine is another:
// node tools/arm64/test-addon.mjs CPU [TEST FILE …], with a CPU of tools/qemu/cpu.mjs and files such as tests/engines.test.ts.
import path from 'node:path'
import { $, fs } from 'zx'
import { buildFor } from '../native/targets.mjs'
import { findToolchain } from '../qemu/toolchain.mjs'
import { cpus, nodeOn, testEnvironment } from './node.mjs'

const parts = ['package.json', 'src', 'tests', 'tsconfig.json', 'vitest.config.ts']
const [cpu, ...files] = process.argv.slice(2)
if (!cpus[cpu]) end(`CPU: expected ${Object.keys(cpus).join(' or ')}, received '${cpu ?? ''}'`)

const { missing } = await findToolchain()
if (missing.length) {
  if (process.env.CI) end(missing.join('\n'))
  console.log(`SKIPPED tests on arm64 (${cpu})`)
  console.log(missing.join('\n'))
  process.exit(0)
}

const { directory } = await buildFor({ target: 'linux-arm64' })
const binaries = path.join('packages/acl', directory, 'Release')
const { addons } = await fs.readJson(path.join(binaries, 'addons.json'))
if (process.env.CI && !addons.some(({ engine }) => engine === 'acl')) end(`${binaries}: no engine acl`)
const workspace = await stage(binaries)
console.log(`@intattn/acl on arm64 Linux, ${cpu}`)
const vitest = path.resolve('node_modules/vitest/vitest.mjs')
const { command, flags } = await nodeOn(cpu)
const { exitCode } = await $({
  nothrow: true,
  stdio: ['ignore', 'inherit', 'inherit'],
  cwd: path.join(workspace, 'packages/acl'),
  env: await testEnvironment(),
})`${command} ${flags} ${vitest} run --pool=threads ${flags.map((flag) => `--execArgv=${flag}`)} ${files}`
process.exit(exitCode ?? 1)

/** A copy of what the tests are made of, where the addon they find is that of arm64. */
async function stage(binaries) {
  const to = path.resolve('build/arm64/workspace')
  await fs.remove(to)
  for (const name of ['tsconfig.base.json', ...parts.map((part) => `packages/acl/${part}`)])
    await fs.copy(name, path.join(to, name))
  await fs.copy(binaries, path.join(to, 'packages/acl/build/Release'), {
    filter: (file) => fs.statSync(file).isDirectory() || /\.(node|json)$/.test(file),
  })
  await fs.symlink(path.resolve('node_modules'), path.join(to, 'node_modules'))
  return to
}

function end(message) {
  console.error(message)
  process.exit(1)
}
