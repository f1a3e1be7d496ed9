import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { scenarios } from './programs/lifecycle.mjs'
import { compiledApi } from './support/compile.js'
import { compileSource, noCompiler } from './support/compiler.js'
import { describeUnlessEmulated } from './support/emulation.js'
import { Project } from './support/project.js'

const program = fileURLToPath(new URL('programs/lifecycle.mjs', import.meta.url))
const notHere = process.platform === 'linux' ? noCompiler : ' (not run here: LD_PRELOAD is of Linux)'

describeUnlessEmulated('how processes and workers end', () => {
  test.each(Object.entries(scenarios))('%s', (scenario, status) => {
    const ended = spawnSync(process.execPath, [program, scenario, compiledApi.href], { encoding: 'utf8' })
    expect(ended).toMatchObject({ status, signal: null, stderr: '' })
  })

  test.skipIf(notHere)(`a run that Node-API does not queue leaves nothing behind${notHere}`, () => {
    const project = new Project()
    try {
      compileSource(project, 'host.so', refusingHost)
      // Functions in capitals are those of host.so; names of the same length can be replaced in place.
      const addon = join(project.platformPackage(), 'intattn.node')
      const replaced = readFileSync(addon, 'latin1').replaceAll(
        new RegExp(`napi_(${counted.map(({ name }) => name).join('|')}|queue_async_work)(?=\0)`, 'g'),
        (_, name: string) => `NAPI_${name}`,
      )
      writeFileSync(addon, replaced, 'latin1')
      const { stdout, stderr } = project.run(
        `import { Attention } from '@intattn/acl'
        const tensor = { type: 'float32', dims: [1, 1, 4, 8], data: new Float32Array(32) }
        const attention = new Attention({ heads: 1, headDim: 8 })
        for (let i = 0; i < 10; i++)
          await attention.run({ query: tensor, key: tensor, value: tensor }).catch(({ message }) => console.log(message))`,
        { env: { LD_PRELOAD: join(project.root, 'host.so') } },
      )
      expect(stdout.match(/Node-API refused to start a run/g)).toHaveLength(10)
      const [made = 0, freed] = stderr.split(' ').map(Number)
      expect(made).toBeGreaterThanOrEqual(30)
      expect(freed).toBe(made)
    } finally {
      project.remove()
    }
  })
})

/** Functions of Node-API that make or free what objects and runs need, with the types of their arguments behind the environment. */
const counted = [
  { name: 'wrap', counter: 'made', types: ['void *', 'void *', 'void *', 'void *', 'void *'] },
  { name: 'create_reference', counter: 'made', types: ['void *', 'unsigned', 'void *'] },
  { name: 'create_async_work', counter: 'made', types: ['void *', 'void *', 'void *', 'void *', 'void *', 'void *'] },
  { name: 'create_promise', counter: 'made', types: ['void *', 'void *'] },
  { name: 'delete_reference', counter: 'freed', types: ['void *'] },
  { name: 'delete_async_work', counter: 'freed', types: ['void *'] },
  { name: 'resolve_deferred', counter: 'freed', types: ['void *', 'void *'] },
]

const refusingHost = `#include <stdio.h>
  static int made, freed;
  int NAPI_queue_async_work(void *env, void *work) { return 9; /* napi_generic_failure */ }
  ${counted
    .map(({ name, counter, types }) => {
      const parameters = types.map((type, i) => `${type} a${i}`).join(', ')
      return `int napi_${name}(void *, ${types.join(', ')});
        int NAPI_${name}(void *env, ${parameters}) { ++${counter}; return napi_${name}(env, ${types.map((_, i) => `a${i}`).join(', ')}); }`
    })
    .join('\n')}
  __attribute__((destructor)) static void at_exit(void) {
    if (made) fprintf(stderr, "%d %d", made, freed);
  }
`
