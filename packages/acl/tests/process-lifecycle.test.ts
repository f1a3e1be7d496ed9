import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { scenarios } from './programs/lifecycle.mjs'
import { compiledApi } from './support/compile.js'
import { describeUnlessEmulated } from './support/emulation.js'

const program = fileURLToPath(new URL('programs/lifecycle.mjs', import.meta.url))

describeUnlessEmulated('how processes and workers end', () => {
  test.each(Object.entries(scenarios))('%s', (scenario, status) => {
    const ended = spawnSync(process.execPath, [program, scenario, compiledApi.href], { encoding: 'utf8' })
    expect(ended).toMatchObject({ status, signal: null, stderr: '' })
  })
})
