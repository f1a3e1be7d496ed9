import { readdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { describe, expect, test } from 'vitest'
import { Attention } from '../src/index.js'
import { expectIdentical } from './support/compare.js'
import { Random } from './support/random.js'
import { tensor } from './support/tensors.js'

const random = new Random(3)
const draw = () => tensor('float32', [1, 2, 60, 16], random.normals(1920))
const inputs = { query: draw(), key: draw(), value: draw() }

// Alone in its file, and so in its process: what another test left to the garbage collector would hold threads.
describe('threads of the native engine', () => {
  const isLinux = process.platform === 'linux'
  const why = isLinux ? '' : ' (not run here: only Linux lists the threads of a process in files)'

  test.skipIf(!isLinux)(`are shared by all objects${why}`, async () => {
    const threads = () => readdirSync('/proc/self/task').length
    const most = 4
    // The threads of Node's own pool, and whatever else starts with a first run.
    using first = new Attention({ heads: 2, headDim: 16, engine: 'native', threads: 1 })
    await Promise.all(Array.from({ length: 8 }, () => first.run(inputs)))
    const before = threads()
    const objects = Array.from({ length: 200 }, (_, i) => {
      const attention = new Attention({ heads: 2, headDim: 16, engine: 'native', threads: 1 + (i % most) })
      attention.runSync(inputs)
      return attention
    })
    const { output } = first.runSync(inputs)
    for (const result of await Promise.all(objects.map((attention) => attention.run(inputs)))) {
      expectIdentical(result.output.data as Float32Array, output.data as Float32Array, 'output')
    }
    // As many as one run takes, or as the machine has processors for, where several run at once.
    expect(threads() - before).toBeLessThanOrEqual(Math.max(most, cpus().length) - 1)
    for (const attention of objects) attention.dispose()
    await expect.poll(threads).toBeLessThanOrEqual(before)
  })
})
