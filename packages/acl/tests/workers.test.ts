import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { Attention } from '../src/index.js'
import { expectIdentical } from './support/compare.js'
import { compiledApi } from './support/compile.js'
import { describeEachEngine, threadedEngines } from './support/engines.js'
import { Random } from './support/random.js'
import { tensor } from './support/tensors.js'

const common = { heads: 4, kvHeads: 2, headDim: 48, causal: true, threads: 2 }
const random = new Random(5)
const draw = (heads: number, length: number) =>
  tensor('float32', [1, heads, length, 48], random.normals(heads * length * 48))
const inputs = { query: draw(4, 120), key: draw(2, 120), value: draw(2, 120) }

function start(body: string, workerData: object): Worker {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads')
    const work = async ({ Attention, engines }) => { ${body} }
    import(${JSON.stringify(compiledApi.href)}).then(work)`
  return new Worker(source, { eval: true, workerData: { inputs, ...workerData } })
}

/** The first message of a worker; its errors reject. */
async function messageOf(worker: Worker): Promise<unknown> {
  const [message] = await once(worker, 'message')
  return message
}

const runMany = `
  const outputs = []
  for (let i = 0; i < workerData.runs; i++) {
    const attention = new Attention(workerData.options)
    const runs = Array.from({ length: 3 }, () => attention.run(workerData.inputs))
    for (const { output } of await Promise.all(runs)) outputs.push(output.data)
    if (i % 2) attention.dispose()
  }
  parentPort.postMessage(outputs)`

describeEachEngine(
  'threads',
  (engine) => {
    const options = { ...common, engine }

    test('several worker threads compute at once, and the main thread too', async () => {
      using attention = new Attention(options)
      const expected = attention.runSync(inputs).output.data as Float32Array
      const workers = Array.from({ length: 4 }, () => start(runMany, { options, runs: 10 }))
      const main = Promise.all(Array.from({ length: 20 }, () => attention.run(inputs)))
      for (const outputs of await Promise.all(workers.map(messageOf))) {
        expect(outputs).toHaveLength(30)
        for (const output of outputs as Float32Array[]) expectIdentical(output, expected, 'output of a worker')
      }
      for (const { output } of await main) expectIdentical(output.data as Float32Array, expected, 'output of main')
    })

    test('shared memory goes to a worker and comes back filled', async () => {
      using attention = new Attention(options)
      const expected = attention.runSync(inputs).output.data as Float32Array
      const share = (values: Float32Array) => {
        const data = new Float32Array(new SharedArrayBuffer(values.byteLength))
        data.set(values)
        return data
      }
      const shared = Object.fromEntries(
        Object.entries(inputs).map(([name, t]) => [name, { ...t, data: share(t.data as Float32Array) }]),
      )
      const output = { ...inputs.query, data: share(new Float32Array(expected.length)) }
      const worker = start(
        `const attention = new Attention(workerData.options)
       await attention.run({ ...workerData.shared, output: workerData.output })
       parentPort.postMessage('done')`,
        { options, shared, output },
      )
      expect(await messageOf(worker)).toBe('done')
      expectIdentical(output.data, expected, 'output')
    })

    test('a worker that leaves objects behind ends cleanly', async () => {
      const body = `
      for (let i = 0; i < 20; i++) new Attention(workerData.options).runSync(workerData.inputs)
      parentPort.postMessage(engines()[0].available)`
      const worker = start(body, { options })
      const exit = once(worker, 'exit')
      expect(await messageOf(worker)).toBe(true)
      expect((await exit)[0]).toBe(0)
    })
  },
  threadedEngines,
)
