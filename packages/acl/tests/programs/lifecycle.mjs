// Ends workers and processes in every way in which they end while they use the addon: node lifecycle.mjs SCENARIO [API]
// API is what is imported, by default @intattn/acl. Used for the addon that was built here and for the one that was packed.
import { once } from 'node:events'
import { realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

/** The exit code of each scenario that goes well. @type {Record<string, number>} */
export const scenarios = {
  'only workers load the addon': 0,
  'workers are terminated within each call': 0,
  'workers are terminated at any moment': 0,
  'workers end in the middle of a run': 0,
  'the process exits while all are busy': 7,
}

/** Calls of each addon that read objects, during which JavaScript can run. */
const calls = {
  native: ['constructor', 'run', 'runSync', 'indexSoftmax', 'quantize', 'KvCache', 'append'],
  acl: ['constructor', 'run', 'runSync'],
}

/** @typedef {typeof import('../../src/index.js')} Api */
/** @typedef {keyof typeof calls} Engine */

/** @param {Api} api @returns {Engine[]} */
const enginesOf = ({ engines }) =>
  engines().flatMap(({ name, available }) => (available && name !== 'reference' ? [name] : []))

const heads = 2
const headDim = 64
/** @param {number} length */
function inputsOf(length) {
  const tensor = () => ({
    type: /** @type {const} */ ('float32'),
    dims: [1, heads, length, headDim],
    data: new Float32Array(heads * length * headDim).fill(0.5),
  })
  return { query: tensor(), key: tensor(), value: tensor() }
}
const few = inputsOf(2)
const many = inputsOf(512)

/** The files of the addons in the memory of this process. @returns {string[]} */
function loadedAddons() {
  const report = /** @type {{ sharedObjects: string[] }} */ (process.report.getReport())
  return report.sharedObjects.filter((file) => /^intattn.*\.node$/.test(path.basename(file)))
}

/** What a worker does, until it is ended. @type {Record<string, (api: Api, data: any) => unknown>} */
const roles = {
  async use(api) {
    for (const engine of enginesOf(api)) {
      const attention = new api.Attention({ engine, heads, headDim, threads: 2 })
      attention.runSync(few)
      await attention.run(few)
    }
    say(loadedAddons())
  },

  /** Makes a call in which the addon waits for a property of its arguments. */
  async beHeld(api, { engine, call }) {
    const options = { engine, heads, headDim, threads: 1 }
    new api.Attention(options).dispose()
    const file = loadedAddons().find((name) => path.basename(name).startsWith('intattn_') === (engine === 'acl'))
    holdIn(createRequire(import.meta.url)(/** @type {string} */ (file)), call)
    const attention = new api.Attention(options)
    await attention.run({ ...few, intermediates: true })
    attention.runSync({ ...few, intermediates: true })
    api.indexSoftmax({ scores: new Int32Array(2), rows: 1, cols: 2, logitScale: 1 })
    api.quantize({ values: few.query, scope: 'row' })
    new api.KvCache({ kvHeads: heads, headDim, threads: 1 }).append({ key: few.key, value: few.value })
    throw new Error(`${engine}: ${call} reads no object`)
  },

  async callAll(api) {
    const engines = enginesOf(api)
    say('calling')
    for (;;)
      for (const engine of engines) {
        // The constructor reads most, and is most often caught at it.
        const all = Array.from({ length: 32 }, () => new api.Attention({ engine, heads, headDim, threads: 1 }))
        all[0]?.runSync({ ...few, intermediates: true })
        await Promise.all(all.map((attention) => attention.run(few)))
        if (engine !== 'native') continue
        const attention = new api.Attention({ heads, headDim, threads: 2 })
        const cache = new api.KvCache({ kvHeads: heads, headDim, threads: 2 })
        for (let i = 0; i < 8; i++) cache.append({ key: many.key, value: many.value })
        const run = attention.run({ query: few.query, cache })
        cache.fork().append({ key: few.key, value: few.value })
        await run
      }
  },

  async run(api, { engine, exits }) {
    const attention = new api.Attention({ engine, heads, headDim, threads: 2 })
    const run = attention.run(many)
    say('running')
    if (exits) process.exit(3)
    for (await run; ; ) await attention.run(many)
  },

  runSync(api, { engine }) {
    const attention = new api.Attention({ engine, heads, headDim, threads: 2 })
    say('running')
    for (;;) attention.runSync(many)
  },
}

/** @param {unknown} message */
const say = (message) => parentPort?.postMessage(message)

/**
 * Has a call of the addon stop where it reads the first property of an object among its arguments.
 * @param {any} addon
 * @param {string} call
 */
function holdIn(addon, call) {
  /** @param {string} name @param {unknown[]} values */
  const held = (name, values) =>
    name !== call
      ? values
      : values.map((value) =>
          Object.prototype.toString.call(value) === '[object Object]'
            ? new Proxy(/** @type {object} */ (value), { get: wait })
            : value,
        )
  const wait = () => {
    say('held')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  }
  const { Attention } = addon
  addon.Attention = class extends Attention {
    /** @param {unknown[]} values */
    constructor(...values) {
      super(...held('constructor', values))
    }
    /** @param {unknown[]} values */
    run(...values) {
      return super.run(...held('run', values))
    }
    /** @param {unknown[]} values */
    runSync(...values) {
      return super.runSync(...held('runSync', values))
    }
  }
  const { KvCache } = addon
  addon.KvCache = class extends KvCache {
    /** @param {unknown[]} values */
    constructor(...values) {
      super(...held('KvCache', values))
    }
    /** @param {unknown[]} values */
    append(...values) {
      return super.append(...held('append', values))
    }
  }
  for (const name of ['indexSoftmax', 'quantize']) {
    const original = addon[name]
    addon[name] = (/** @type {unknown[]} */ ...values) => original(...held(name, values))
  }
}

/** @param {string} api @param {string} role @param {object} [data] */
function start(api, role, data) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { lifecycle: role, api, ...data } })
  const exit = once(worker, 'exit').then(([code]) => code)
  /** The first message. @type {Promise<any>} */
  const message = new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`${role}: a worker ended by itself, with code ${code}`)))
  })
  message.catch(() => {}) // ended before it was asked
  return { worker, message, exit }
}

/** @param {string} what @param {unknown} received @param {unknown} expected */
function check(what, received, expected) {
  if (received !== expected) throw new Error(`${what}: expected ${expected}, received ${received}`)
}

/** @param {string} name @param {string} source what to import */
async function play(name, source) {
  switch (name) {
    case 'only workers load the addon':
      for (let i = 0; i < 2; i++) {
        const { message, exit } = start(source, 'use')
        const used = await message
        check('the exit code of a worker', await exit, 0)
        if (used.length === 0) throw new Error('no addon was loaded')
        // Its code is still needed when the process ends.
        check('addons that stay loaded', loadedAddons().join(), used.join())
      }
      return
    case 'workers are terminated within each call':
      for (const { worker, message } of await allHeld(source)) {
        check('a call', await message, 'held')
        await worker.terminate()
      }
      return
    case 'workers are terminated at any moment': {
      const begin = performance.now()
      const first = start(source, 'callAll')
      await first.message
      const loading = performance.now() - begin
      await first.worker.terminate()
      for (let i = 0; i < 12; i++) {
        const { worker, message } = start(source, 'callAll')
        if (i % 3) await message
        await setTimeout(i % 3 ? Math.random() * 10 : Math.random() * loading)
        await worker.terminate()
      }
      return
    }
    case 'workers end in the middle of a run':
      for (const engine of enginesOf(await import(source)))
        for (const exits of [false, true]) {
          const { worker, message, exit } = start(source, 'run', { engine, exits })
          await message
          if (!exits) worker.terminate()
          check('the exit code of a worker', await exit, exits ? 3 : 1)
        }
      return
    case 'the process exits while all are busy': {
      const api = await import(source)
      const runs = enginesOf(api).flatMap((engine) => ['run', 'runSync'].map((role) => start(source, role, { engine })))
      await Promise.all([...runs, ...(await allHeld(source))].map(({ message }) => message))
      for (const engine of enginesOf(api)) new api.Attention({ engine, heads, headDim, threads: 2 }).run(many)
      process.exit(scenarios[name])
    }
  }
  throw new Error(`expected ${Object.keys(scenarios).join(', ')}, received ${name}`)
}

/** One worker in each call. @param {string} source */
const allHeld = async (source) =>
  enginesOf(await import(source)).flatMap((engine) =>
    calls[engine].map((call) => start(source, 'beHeld', { engine, call })),
  )

if (workerData?.lifecycle) await roles[workerData.lifecycle]?.(await import(workerData.api), workerData)
else if (isMainThread && realpathSync(process.argv[1] ?? '') === fileURLToPath(import.meta.url))
  await play(process.argv[2] ?? '', process.argv[3] ?? '@intattn/acl')
