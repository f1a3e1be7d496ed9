import path from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { $, fs } from 'zx'
import { scenarios } from '../../../packages/acl/tests/programs/lifecycle.mjs'
import { Problem } from '../../acl/problem.mjs'

const program = path.resolve('packages/acl/tests/programs/lifecycle.mjs')
const vitest = path.resolve('node_modules/vitest/vitest.mjs')

/** A test as users have it, whose threads or processes alone load the addon. */
const usersTest = `import { Attention, engines } from '@intattn/acl'
test('attention', async () => {
  for (const { name, available } of engines()) {
    if (!available) continue
    const tensor = { type: 'float32', dims: [1, 1, 4, 8], data: new Float32Array(32).fill(0.5) }
    const { output } = await new Attention({ engine: name, heads: 1, headDim: 8 }).run({ query: tensor, key: tensor, value: tensor })
    expect(output.data[0]).toBeCloseTo(0.5, 1)
  }
})
`

/**
 * Ends workers and processes that use the installed packages, in every way, and runs a user's tests by vitest, in threads and in processes.
 * @param {object} options
 * @param {string} options.project where they are installed
 * @param {import('./nodes.mjs').Node} options.node
 * @param {NodeJS.ProcessEnv} options.env
 */
export async function verifyLifecycle({ project, node: { version, command, flags }, env }) {
  const run = $({ nothrow: true, quiet: true, cwd: project, env })
  await fs.copy(program, path.join(project, 'lifecycle.mjs'))
  for (const [scenario, status] of Object.entries(scenarios)) {
    const { exitCode, signal, stderr } = await run`${command} lifecycle.mjs ${scenario}`
    if (exitCode !== status)
      throw new Problem(
        `Node ${version}: ${scenario}: expected exit code ${status}, received ${signal ?? exitCode}`,
        stderr,
      )
  }
  await fs.writeFile(path.join(project, 'attention.test.mjs'), usersTest)
  for (const pool of ['threads', 'forks']) {
    const passed = flags.map((flag) => `--execArgv=${flag}`)
    const ended = await run`${command} ${vitest} run --root ${project} --globals --pool ${pool} ${passed}`
    if (ended.exitCode !== 0 || !/Tests +1 passed/.test(stripVTControlCharacters(ended.stdout)))
      throw new Problem(
        `Node ${version}: vitest --pool ${pool} ended with ${ended.signal ?? ended.exitCode}`,
        ended.text(),
      )
  }
}
