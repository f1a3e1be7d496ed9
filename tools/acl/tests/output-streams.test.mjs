import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const programs = ['acl', 'release'].map((name) => fileURLToPath(new URL(`../../${name}/main.mjs`, import.meta.url)))
const commands = programs.map((program) => [program, '--help'])

test.each(commands)('%s %s ends quietly when nobody reads', (...command) => {
  const script = '{ sleep 0.3; "$0" "$@"; echo "code $?" >&2; } | true'
  const { stdout, stderr } = spawnSync('sh', ['-c', script, process.execPath, ...command], { encoding: 'utf8' })
  expect({ stdout, stderr }).toEqual({ stdout: '', stderr: 'code 0\n' })
})

test.skipIf(!existsSync('/dev/full')).each(programs)('%s says in one line that stdout cannot be written', (program) => {
  const stdout = openSync('/dev/full', 'w')
  const { status, stderr } = spawnSync(process.execPath, [program, '--help'], {
    stdio: ['ignore', stdout, 'pipe'],
    encoding: 'utf8',
  })
  closeSync(stdout)
  expect({ status, stderr }).toEqual({ status: 1, stderr: 'cannot write to stdout (ENOSPC)\n' })
})

test.skipIf(!existsSync('/dev/full')).each(programs)('%s goes on where stderr cannot be written', (program) => {
  const stderr = openSync('/dev/full', 'w')
  const { status, signal } = spawnSync(process.execPath, [program, '--frobnicate'], {
    stdio: ['ignore', 'pipe', stderr],
  })
  closeSync(stderr)
  expect({ status, signal }).toEqual({ status: 2, signal: null })
})
