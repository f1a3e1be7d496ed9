import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { callAddon } from '../src/addons/call.js'
import type { Addon } from '../src/addons/interface.js'
import { engines, instructionSets } from '../src/index.js'
import { compiledApi } from './support/compile.js'
import { threadedEngines } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { shareOf } from './support/random.js'

/** Of child processes: both colour variables together make Node print a warning. */
const { FORCE_COLOR: _, NO_COLOR: __, ...environment } = process.env

describe('engines', () => {
  test('are listed with their instruction sets, and why any cannot run here', () => {
    const [native, acl, reference] = engines()
    expect(acl!.name).toBe('acl')
    expect(acl!.reason === undefined).toBe(acl!.available)
    expect(reference).toEqual({ name: 'reference', available: true, instructionSets: [] })
    expect(native).toMatchObject({ name: 'native', available: true, place: 'local build' })
    expect(native!.compiler).toMatch(/^((Apple )?clang|gcc) \d+\.\d+\.\d+$/)
    const names = native!.instructionSets.map(({ name }) => name)
    expect(names).toEqual(instructionSets)
    for (const { available, compiled, reason } of native!.instructionSets) {
      expect(available && !compiled).toBe(false)
      expect(reason === undefined).toBe(available)
    }
  })

  test('the scalar instruction set runs everywhere', () => {
    expect(engines()[0]!.instructionSets[0]).toEqual({ name: 'scalar', compiled: true, available: true, requires: '' })
  })
})

describe.each(threadedEngines)('processes, %s engine', (engine) => {
  const env = { ...environment, INTATTN_ENGINE: engine }
  const run = (body: string) => {
    const code = `import { Worker } from 'node:worker_threads'
      import { Attention } from ${JSON.stringify(compiledApi.href)}
      const data = new Float32Array(2 * 2000 * 64)
      const heavy = { type: 'float32', dims: [1, 2, 2000, 64], data }
      const inputs = { query: heavy, key: heavy, value: heavy }
      const attention = new Attention({ heads: 2, headDim: 64, threads: 2 })
      ${body}`
    const { status, signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
      encoding: 'utf8',
      env,
    })
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
  }

  test('leave in the middle of a run', () => run('attention.run(inputs); process.exit(0)'))
  test('leave with runs queued and nobody waiting', () => run('attention.run(inputs); attention.run(inputs)'))
  test('leave without dispose', () => run('attention.runSync(inputs)'))
  test('collect objects that nobody disposed', () =>
    run(`for (let i = 0; i < ${shareOf(300)}; i++) new Attention({ heads: 2, headDim: 64, threads: 2 }).runSync({
           query: { ...heavy, dims: [1, 2, 1, 64], data: data.subarray(0, 128) }, key: heavy, value: heavy })`))

  test('load the addon in a worker alone, and unload it', () => {
    const code = `const { Worker } = require('node:worker_threads')
      const body = "import(" + JSON.stringify(${JSON.stringify(compiledApi.href)}) + ").then(({ Attention }) => {" +
        "new Attention({ heads: 1, headDim: 8, threads: 2 }).run({ query: t(), key: t(), value: t() });" +
        "function t() { return { type: 'float32', dims: [1, 1, 4000, 8], data: new Float32Array(32000) } } })"
      const next = (left) => left && new Worker(body, { eval: true }).on('exit', () => next(left - 1))
      next(5)`
    const { status, signal, stderr } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8', env })
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
  })
})

describe('the border of the addon, should TypeScript ever let something through', () => {
  const path = fileURLToPath(new URL('../build/Release/intattn.node', import.meta.url))
  const addon = createRequire(import.meta.url)(path) as Addon
  const options = {
    pipeline: 3,
    heads: 2,
    kvHeads: 1,
    headDim: 4,
    valueDim: 4,
    causal: false,
    window: 0,
    keepFirst: 0,
    alibiSlopes: undefined,
    sinks: undefined,
    softmaxScale: 0.5,
    queryScope: 2,
    keyScope: 1,
    valueScope: 3,
    smoothKey: true,
    centerValue: true,
    threads: 1,
    isa: 'scalar',
    table: 1,
    clip: 6.6,
    lutBits: 5,
    normalization: 1,
  }
  const good = (): unknown[] => [
    1,
    3,
    5,
    new Float32Array(24),
    undefined,
    new Float32Array(20),
    undefined,
    new Float32Array(20),
    undefined,
    undefined,
    new Float32Array(24),
    undefined,
    {},
    new Float64Array(6),
  ]

  test.each([
    [0, 2],
    [0, 2 ** 52],
    [1, -1],
    [1, Number.NaN],
    [2, 6],
    [2, 1.5],
    [3, new Float32Array(23)],
    [3, new Float64Array(24)],
    [3, new Int8Array(24)],
    [5, undefined],
    [7, new Float32Array(21)],
    [9, Uint32Array.of(6)],
    [9, Uint32Array.of(1, 2)],
    [10, new Float32Array(23)],
    [10, new Int8Array(24)],
    [11, { scores: new Int32Array(29) }],
    [12, undefined],
    [12, { queryStart: new Int32Array(2) }],
    [12, { mask: new Uint8Array(15), maskDims: Uint32Array.of(1, 1, 3, 5) }],
    [13, new Float64Array(5)],
  ])('argument %i wrong', (position, bad) => {
    const attention = new addon.Attention(options)
    for (const run of [attention.run, attention.runSync]) {
      const given = good()
      given[position] = bad
      expect(() => Reflect.apply(run, attention, given)).toThrow(/addon: /)
    }
    expect(Reflect.apply(attention.runSync, attention, good())).toBe(0)
  })

  test.each([
    { heads: 0 },
    { kvHeads: 3 },
    { headDim: 1025 },
    { valueDim: 1025 },
    { window: 1 },
    { sinks: new Float32Array(2) },
    { pipeline: 0, sinks: new Float32Array(3) },
    { pipeline: 4 },
    { keyScope: 2 },
    { threads: 0 },
    { lutBits: 9 },
    { clip: 0 },
    { softmaxScale: Number.NaN },
    { isa: 'neon-i8mm-not' },
  ])('options %o', (bad) => {
    expect(() => new addon.Attention({ ...options, ...bad })).toThrow(/addon: /)
  })

  test('output in the memory of an input', () => {
    const attention = new addon.Attention(options)
    for (const [position, code] of [
      [3, 8],
      [5, 9],
      [7, 10],
    ] as const) {
      const given = good()
      const buffer = new SharedArrayBuffer(400)
      const { length } = given[position] as Float32Array
      given[position] = new Float32Array(buffer, 0, length)
      given[10] = new Float32Array(buffer, 4 * length - 4, 24)
      expect(Reflect.apply(attention.runSync, attention, given)).toBe(code)
    }
  })

  describe('version 2', () => {
    const { causal, headDim, isa, kvHeads, threads, valueDim, window, keepFirst } = options
    const block = {
      ...{
        version: 2 as const,
        heads: 2,
        causal,
        headDim,
        isa,
        kvHeads,
        threads,
        valueDim,
        window,
        keepFirst,
        softmaxScale: 0.5,
      },
      ...{ rotate: true, queryBits: 8, keyBits: 8, valueBits: 8, planeBits: 8 },
      ...{ keyOffset: undefined, valueOffset: undefined, alibiSlopes: undefined, sinks: undefined },
    } as const
    const call = (): Record<string, unknown> => ({
      ...{ batch: 1, queryLength: 3, keyLength: 5, smoothKey: false, centerValue: false, times: new Float64Array(6) },
      ...{ query: new Float32Array(24), queryType: 0, queryStrides: Float64Array.of(24, 12, 4) },
      ...{ key: new Float32Array(20), keyType: 0, keyStrides: Float64Array.of(20, 20, 4) },
      ...{ value: new Float32Array(20), valueType: 0, valueStrides: Float64Array.of(20, 20, 4) },
      ...{ output: new Float32Array(24), outputType: 0, outputStrides: Float64Array.of(24, 12, 4) },
    })

    test.each([
      { query: new Float32Array(23) },
      { query: new Int8Array(24), queryType: 2 },
      { queryType: 1 },
      { queryType: 4 },
      { queryStrides: [24, 12, 4] },
      { queryStrides: Float64Array.of(24, 12) },
      { queryStrides: undefined, query: new Float32Array(23) },
      { queryStrides: Float64Array.of(24, 13, 4) },
      { queryStrides: Float64Array.of(24, 12, -4) },
      { queryStrides: Float64Array.of(24, 0.5, 4) },
      { queryStrides: Float64Array.of(24, 12, Number.NaN) },
      { queryStrides: Float64Array.of(24, 12, 2 ** 62) },
      { key: new Float32Array(19) },
      { valueStrides: Float64Array.of(20, 20, 5) },
      { output: new Float32Array(23) },
      { output: new Int8Array(24), outputType: 2 },
      { outputStrides: Float64Array.of(24, Infinity, 4) },
      { mask: new Uint8Array(4), maskDims: Uint32Array.of(1, 1, 1, 5) },
      { bias: new Float32Array(5), biasDims: Uint32Array.of(1, 3, 1, 5) },
      { queryStart: new Int32Array(2) },
    ])('%o', (bad) => {
      const attention = new addon.Attention(block)
      for (const run of [attention.run, attention.runSync]) {
        expect(() => Reflect.apply(run, attention, [{ ...call(), ...bad }])).toThrow(/addon: /)
      }
      expect(Reflect.apply(attention.runSync, attention, [call()])).toBe(0)
    })
  })

  test('what it objects to becomes a typed error', async () => {
    const attention = new addon.Attention(options)
    const given = good().with(3, new Float32Array(23))
    const error = await errorOf(() => callAddon('inputs', () => Reflect.apply(attention.runSync, attention, given)))
    expect(expectTyped(error, 'INVALID_ARGUMENT', 'inputs').received).toMatch(/^addon: query/)
  })

  test('one run at a time, none after dispose', async () => {
    const attention = new addon.Attention(options)
    const run = Reflect.apply(attention.run, attention, good())
    expect(() => Reflect.apply(attention.run, attention, good())).toThrow(/addon: /)
    expect(() => Reflect.apply(attention.runSync, attention, good())).toThrow(/addon: /)
    attention.dispose()
    expect(await run).toBe(0)
    expect(() => Reflect.apply(attention.runSync, attention, good())).toThrow(/addon: /)
    expect(attention.memoryBytes()).toBe(0)
  })
})
