import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { temporary, write } from './support/checkout.mjs'

const exclusive = fileURLToPath(new URL('../../native/exclusive.mjs', import.meta.url))

/**
 * A build in a checkout: `code` of Node.js, which has `fs`.
 * @param {string} checkout @param {string} code @param {import('node:child_process').SpawnOptions} [options]
 */
function build(checkout, code, options = {}) {
  const args = [exclusive, process.execPath, '-e', `const fs = require('node:fs');${code}`]
  const child = spawn(process.execPath, args, { cwd: checkout, stdio: ['ignore', 'pipe', 'pipe'], ...options })
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (data) => {
    stdout += data
  })
  child.stderr?.on('data', (data) => {
    stderr += data
  })
  const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })))
  return { child, ended, said: () => stderr }
}

/** @param {() => boolean} condition */
async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20))
}

const enter = "fs.mkdirSync('at-it');"
const leave = "fs.rmdirSync('at-it')"
/** At it until there is a file `go`. */
const slowly = `${enter} const t = setInterval(() => { if (fs.existsSync('go')) { clearInterval(t); ${leave} } }, 20)`

test('of two builds in one checkout, the second waits and says for whom', async () => {
  const checkout = temporary()
  const first = build(checkout, slowly)
  await until(() => existsSync(path.join(checkout, 'at-it')))
  const second = build(checkout, `${enter} ${leave}`)
  await until(() => second.said() !== '')
  expect(second.said()).toMatch(/^a build in this checkout: another process \(\d+, \d+\) is at it; waiting for it\n$/)
  expect(second.said()).toContain(`${first.child.pid}`)
  write(path.join(checkout, 'go'), '')
  const quiet = { code: 0, signal: null, stdout: '' }
  expect(await first.ended).toEqual({ ...quiet, stderr: '' })
  expect(await second.ended).toMatchObject(quiet)
})

test('a build in a build does not wait for itself, and its exit code is told', async () => {
  const inner = `require('node:child_process').spawnSync(process.execPath, ['${exclusive}', process.execPath, '-e', 'process.exit(7)'])`
  expect(await build(temporary(), `process.exit(${inner}.status)`).ended).toMatchObject({ code: 7, stderr: '' })
})

test('what a killed build has left running is waited for; then the next one goes on', async () => {
  const checkout = temporary()
  const first = build(checkout, slowly, { stdio: 'ignore' })
  await until(() => existsSync(path.join(checkout, 'at-it')))
  first.child.kill('SIGKILL')
  await first.ended
  const second = build(checkout, `${enter} ${leave}`)
  await until(() => second.said() !== '')
  write(path.join(checkout, 'go'), '')
  expect(await second.ended).toMatchObject({ code: 0 })
  expect(await build(checkout, '').ended).toMatchObject({ code: 0, stderr: '' })
})

/** Root may write everywhere: the build is somebody else's then, who must be able to read this checkout. */
const somebody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
const { status } = spawnSync(process.execPath, ['-e', `require('node:fs').accessSync('${exclusive}')`], somebody)
const unreadable = status === 0 ? '' : ': not run, root may write everywhere and nobody else may read this checkout'

test.skipIf(unreadable)(
  `a checkout that cannot be written is named, and how to run what is built${unreadable}`,
  async () => {
    const checkout = realpathSync(temporary()) // a process knows where it is by the real path
    chmodSync(checkout, 0o555)
    const refused = await build(checkout, '', somebody).ended
    const place = path.join(checkout, 'build')
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toBe(
      `nothing can be built in this checkout: no permission to mkdir ${place} (EACCES)\n` +
        'nothing is built yet: copy the checkout to where it can be written, and build there\n',
    )
    chmodSync(checkout, 0o755)
    write(path.join(checkout, 'packages/bench/dist/main.js'), '')
    mkdirSync(place)
    chmodSync(place, 0o555)
    const { stderr } = await build(checkout, '', somebody).ended
    expect(stderr).toMatch(/no permission to open .*native\.lock-\d+ \(EACCES\)\n/)
    expect(stderr).toContain('what is built runs as it is: node packages/bench/dist/main.js\n')
    chmodSync(place, 0o755)
  },
)

test('npm run build and npm run bench build that way', () => {
  const { scripts } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
  for (const name of ['build', 'bench'])
    expect(scripts[name]).toMatch(/^node tools\/native\/exclusive\.mjs nx run-many /)
})
