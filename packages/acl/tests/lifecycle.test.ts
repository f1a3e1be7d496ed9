import { setImmediate } from 'node:timers/promises'
import { describe, expect, expectTypeOf, test } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  type Float32Tensor,
  type FloatTensor,
  type Tensor,
} from '../src/index.js'
import { expectIdentical } from './support/compare.js'
import { describeEachEngine } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { Random } from './support/random.js'
import { tensor } from './support/tensors.js'

const dims = [1, 2, 60, 16]
const random = new Random(3)
const draw = () => tensor('float32', dims, random.normals(1920))
const inputs = { query: draw(), key: draw(), value: draw() }

describeEachEngine('life of an Attention', (engine) => {
  const options: AttentionOptions = { heads: 2, headDim: 16, engine }

  test('runs of one object follow one another', async () => {
    using attention = new Attention(options)
    const { data: expected } = attention.runSync(inputs).output
    const finished: number[] = []
    const runs = Array.from({ length: 8 }, async (_, i) => {
      const result = await attention.run(inputs)
      finished.push(i)
      return result
    })
    for (const { output, stages } of await Promise.all(runs)) {
      expectIdentical(output.data as Float32Array, expected as Float32Array, 'output')
      expect(stages.total).toBeGreaterThan(0)
    }
    expect(finished).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  test('a run that fails does not hold up the next', async () => {
    using attention = new Attention(options)
    const bad = { ...inputs, key: tensor('float32', dims, new Float32Array(1920).fill(Number.NaN)) }
    const outcomes = await Promise.allSettled([attention.run(inputs), attention.run(bad), attention.run(inputs)])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })

  test('runSync while a run is pending is refused', async () => {
    using attention = new Attention(options)
    const pending = attention.run(inputs)
    expectTyped(await errorOf(() => attention.runSync(inputs)), 'BUSY', 'attention')
    await pending
    attention.runSync(inputs)
  })

  test('use after dispose is refused, dispose may be repeated', async () => {
    const attention = new Attention(options)
    attention.runSync(inputs)
    attention.dispose()
    attention.dispose()
    attention[Symbol.dispose]()
    expectTyped(await errorOf(() => attention.runSync(inputs)), 'DISPOSED', 'attention')
    expectTyped(await errorOf(() => attention.run(inputs)), 'DISPOSED', 'attention')
    expect(attention.memoryBytes).toBe(0)
  })

  test('runs under way at dispose complete', async () => {
    const attention = new Attention(options)
    const { data: expected } = attention.runSync(inputs).output
    const runs = [attention.run(inputs), attention.run(inputs)]
    attention.dispose()
    expectTyped(await errorOf(() => attention.run(inputs)), 'DISPOSED', 'attention')
    for (const { output } of await Promise.all(runs)) {
      expectIdentical(output.data as Float32Array, expected as Float32Array, 'output')
    }
    expect(attention.memoryBytes).toBe(0)
  })

  test('options are settled, frozen and readable', () => {
    using attention = new Attention({ ...options, preset: 'precise-1', threads: 3 })
    expect(attention.options).toMatchObject({
      pipeline: 'int',
      heads: 2,
      kvHeads: 2,
      headDim: 16,
      causal: false,
      softmaxScale: 0.25,
      threads: 3,
      version: 1,
      preset: 'precise-1',
      quantization: { query: 'row', key: 'head', value: 'channel' },
      smoothKey: true,
      centerValue: true,
      table: 'exp2',
      normalization: 'deferred',
    })
    expect(Object.isFrozen(attention.options)).toBe(true)
    using paper = new Attention({ ...options, preset: 'paper' })
    expect(paper.options).toMatchObject({
      quantization: { query: 'tensor', key: 'tensor', value: 'tensor' },
      smoothKey: false,
      centerValue: false,
      table: 'natural',
      clip: 6.6,
      lutBits: 5,
      normalization: 'integer',
    })
    using floating = new Attention({ ...options, pipeline: 'fp32' })
    expect(floating.options).not.toHaveProperty('table')
    expect(floating.options).not.toHaveProperty('preset')
  })

  test('undefined options count as absent', () => {
    const absent = { kvHeads: undefined, causal: undefined, preset: undefined, table: undefined, isa: undefined }
    using attention = new Attention({ ...options, ...absent } as unknown as AttentionOptions)
    expect(attention.options.kvHeads).toBe(2)
  })
})

describe('types of results', () => {
  test('follow the output that was supplied', async () => {
    using attention = new Attention({ heads: 2, headDim: 16 })
    const { output } = await attention.run(inputs)
    expectTypeOf(output).toEqualTypeOf<Float32Tensor>()
    expect(output.data[0]).toBeTypeOf('number')
    const half = { type: 'float16' as const, dims, data: new Uint16Array(1920) }
    expectTypeOf(attention.runSync({ ...inputs, output: half }).output.data).toEqualTypeOf<Uint16Array<ArrayBuffer>>()
    const unknown: AttentionInputs = inputs
    expectTypeOf(attention.runSync(unknown).output).toEqualTypeOf<FloatTensor>()
    // @ts-expect-error: outputs are floats
    const int8: AttentionInputs = { ...inputs, output: tensor('int8', dims, new Int8Array(1920), Float32Array.of(1)) }
    expect(() => attention.runSync(int8)).toThrow('output.type')
    // @ts-expect-error: no input has this name
    expect(() => attention.runSync({ ...inputs, keylengths: [1] })).toThrow('keylengths')
  })
})

describe('working memory of the native engine', () => {
  /**
   * What a process may grow by without leaking: the allocator's slack and the collector's young generation, which has up to 48 MiB.
   * The working memory of these objects, were it left behind, would be more than 100 MiB.
   */
  const growth = 64 * 2 ** 20

  test('is reported, does not grow with runs, and is freed', () => {
    const attention = new Attention({ heads: 2, headDim: 16, engine: 'native', threads: 2 })
    attention.runSync(inputs)
    const first = attention.memoryBytes
    expect(first).toBeGreaterThan(0)
    for (let i = 0; i < 50; i++) attention.runSync(inputs)
    expect(attention.memoryBytes).toBe(first)
    attention.dispose()
    expect(attention.memoryBytes).toBe(0)
  })

  test('stays within the bound of the design at 16384 keys of 128', () => {
    using attention = new Attention({ heads: 1, headDim: 128, engine: 'native', threads: 2 })
    const long: Tensor = { type: 'float32', dims: [1, 1, 16384, 128], data: new Float32Array(16384 * 128).fill(0.5) }
    const query: Tensor = { type: 'float32', dims: [1, 1, 64, 128], data: new Float32Array(64 * 128).fill(0.5) }
    attention.runSync({ query, key: long, value: long })
    expect(attention.memoryBytes).toBeLessThan(2 * 16 * 2 ** 20)
  })

  test('a thousand objects come and go', () => {
    const comeAndGo = (count: number) => {
      for (let i = 0; i < count; i++) {
        const attention = new Attention({ heads: 2, headDim: 16, engine: 'native', threads: 2 })
        if (i % 3) attention.runSync(inputs)
        attention.dispose()
      }
    }
    comeAndGo(300)
    const before = process.memoryUsage().rss
    comeAndGo(1000)
    expect(process.memoryUsage().rss - before).toBeLessThan(growth)
  })

  test('a thousand runs of one object leave nothing behind', async () => {
    using attention = new Attention({ heads: 2, headDim: 16, engine: 'native', threads: 2 })
    const output = tensor('float32', dims, new Float32Array(1920))
    const runs = async (count: number) => {
      for (let i = 0; i < count; i++) await attention.run({ ...inputs, output })
    }
    await runs(300)
    const before = process.memoryUsage().rss
    await runs(1000)
    expect(process.memoryUsage().rss - before).toBeLessThan(growth)
  })

  test('the garbage collector sees objects that nobody disposed', async () => {
    let collected = 0
    const registry = new FinalizationRegistry(() => collected++)
    for (let i = 0; i < 200; i++) {
      const attention = new Attention({ heads: 2, headDim: 16, engine: 'native', threads: 64 })
      attention.runSync(inputs)
      registry.register(attention, i)
      await setImmediate()
    }
    expect(collected).toBeGreaterThan(50)
  })
})
