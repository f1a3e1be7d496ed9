import { describe, expect, test } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  float64Attention,
  type IndexSoftmaxOptions,
  indexSoftmax,
  type QuantizeOptions,
  quantize,
} from '../src/index.js'
import { expectIdentical } from './support/compare.js'
import { describeEachEngine } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { tensor } from './support/tensors.js'

const options = { heads: 1, headDim: 8, threads: 1 }
const dims = [1, 1, 6, 8]
const draw = () =>
  tensor(
    'float32',
    dims,
    Float32Array.from({ length: 48 }, (_, i) => Math.sin(i)),
  )
const detach = ({ buffer }: ArrayBufferView) => structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })

/** The object with one name as a getter that does something first. */
const withGetter = <T extends object>(object: T, name: keyof T, first: () => void): T => {
  const value = object[name]
  return Object.defineProperty({ ...object }, name, {
    enumerable: true,
    get: () => {
      first()
      return value
    },
  })
}

/** Counts how often each name is read. */
function counting<T extends object>(object: T): { object: T; reads: Record<string, number> } {
  const reads: Record<string, number> = {}
  const proxy = new Proxy(object, {
    get: (target, name, receiver) => {
      reads[String(name)] = (reads[String(name)] ?? 0) + 1
      return Reflect.get(target, name, receiver)
    },
  })
  return { object: proxy, reads }
}

const once = (reads: Record<string, number>) => expect(Object.values(reads).every((count) => count === 1)).toBe(true)

/** A subclass that says something else when it is iterated over. */
class Uint32Liar extends Uint32Array {
  override *[Symbol.iterator](): ArrayIterator<number> {
    yield* [1, 1, 1, 1]
  }
}
class Float64Liar extends Float64Array {
  override *[Symbol.iterator](): ArrayIterator<number> {
    yield* [1, 1, 1, 1]
  }
}

describeEachEngine('objects that change while they are read', (engine) => {
  const step = engine === 'acl' ? {} : { engine }

  test('every name is read once', async () => {
    const quantization = { query: 'row' } as const
    const preset = 'precise-1'
    const asked = counting<AttentionOptions>({ ...options, engine, preset, quantization, smoothKey: false })
    using attention = new Attention(asked.object)
    once(asked.reads)
    const scale = Float32Array.of(0.1)
    const key = counting(tensor('int8', dims, new Int8Array(48).fill(3), scale))
    const inputs = counting<AttentionInputs>({ query: draw(), key: key.object, value: draw(), keyLengths: [6] })
    attention.runSync(inputs.object)
    once(inputs.reads)
    once(key.reads)
    const softmax = counting<IndexSoftmaxOptions>({
      scores: Int32Array.of(1, 2),
      rows: 1,
      cols: 2,
      logitScale: 1,
      ...step,
    })
    indexSoftmax(softmax.object)
    once(softmax.reads)
    const quantized = counting<QuantizeOptions>({ values: draw(), scope: 'row', ...step })
    quantize(quantized.object)
    once(quantized.reads)
  })

  test('inherited options count', () => {
    using attention = new Attention(
      Object.create({ ...options, engine, preset: 'precise-1', causal: true, smoothKey: true }),
    )
    expect(attention.engine).toBe(engine)
    expect(attention.options).toMatchObject({ causal: true, smoothKey: true })
    const key = tensor('int8', dims, new Int8Array(48), Float32Array.of(1))
    expect(() => attention.runSync({ query: draw(), key, value: draw() })).toThrow('smoothKey')
  })

  test.each(['dims', 'scale', 'type', 'data'] as const)('a getter of value.%s detaches the query', async (name) => {
    using attention = new Attention({ ...options, engine })
    const run = (how: 'run' | 'runSync') => async () => {
      const query = draw()
      const value = withGetter(draw(), name, () => query.data.byteLength && detach(query.data))
      return attention[how]({ query, key: draw(), value })
    }
    for (const how of ['run', 'runSync'] as const) {
      expectTyped(await errorOf(run(how)), 'BUFFER_CHANGED', 'query.data')
    }
  })

  test('a getter disposes of the object, or starts a run of it', async () => {
    const attention = new Attention({ ...options, engine })
    const good = { query: draw(), key: draw(), value: draw() }
    let pending: Promise<unknown> = Promise.resolve()
    const starting = withGetter(good, 'key', () => {
      pending = attention.run(good)
    })
    expectTyped(await errorOf(() => attention.runSync(starting)), 'BUSY', 'attention')
    await pending
    const disposing = withGetter(good, 'key', () => attention.dispose())
    expectTyped(await errorOf(() => attention.runSync(disposing)), 'DISPOSED', 'attention')
  })

  test('getters and proxies that throw', async () => {
    using attention = new Attention({ ...options, engine })
    const throwing = () => {
      throw new Error('two\nlines')
    }
    const good = { query: draw(), key: draw(), value: draw() }
    const key = withGetter(draw(), 'dims', throwing)
    expectTyped(await errorOf(() => attention.runSync({ ...good, key })), 'INVALID_ARGUMENT', 'key.dims')
    const { proxy, revoke } = Proxy.revocable([1], {})
    revoke()
    for (const name of ['query', 'keyLengths'] as const) {
      expectTyped(await errorOf(() => attention.runSync({ ...good, [name]: proxy as never })), 'INVALID_ARGUMENT')
    }
    const { proxy: gone, revoke: revokeInputs } = Proxy.revocable(good, {})
    revokeInputs()
    expectTyped(await errorOf(() => attention.runSync(gone)), 'INVALID_ARGUMENT', 'inputs')
  })

  test('the logitScale getter of indexSoftmax detaches the scores', async () => {
    const scores = Int32Array.of(1, 2, 3, 4)
    const bad = withGetter({ scores, rows: 2, cols: 2, logitScale: 1, ...step }, 'logitScale', () => detach(scores))
    expectTyped(await errorOf(() => indexSoftmax(bad)), 'SHAPE_MISMATCH', 'scores')
  })

  test('the dims getter of quantize detaches the data', async () => {
    const values = draw()
    const bad = withGetter(values, 'dims', () => detach(values.data))
    expectTyped(await errorOf(() => quantize({ values: bad, scope: 'row', ...step })), 'SHAPE_MISMATCH', 'values.data')
  })

  test('subclasses are read by index', () => {
    const scores = Int32Array.from({ length: 8 }, (_, i) => i * i)
    const common = { scores, rows: 4, cols: 2, ...step }
    const truth = indexSoftmax({ ...common, logitScale: Float64Array.of(0.1, 0.2, 0.3, 0.4) })
    const told = indexSoftmax({ ...common, logitScale: Float64Liar.of(0.1, 0.2, 0.3, 0.4) })
    expectIdentical(told.probabilities, truth.probabilities, 'probabilities')

    using attention = new Attention({ ...options, engine })
    const good = { query: draw(), key: draw(), value: draw() }
    const { output } = attention.runSync({ ...good, keyLengths: [3] })
    expectIdentical(attention.runSync({ ...good, keyLengths: Uint32Liar.of(3) }).output.data, output.data, 'output')
  })

  test('keyLengths of any length are refused at once', async () => {
    using attention = new Attention({ ...options, engine })
    const endless = Object.assign([6, 6], { [Symbol.iterator]: () => ({ next: () => ({ done: false, value: 6 }) }) })
    for (const keyLengths of [new Array(1e8), new Array(2 ** 32 - 1), endless, new Uint32Liar(3), []]) {
      const run = () => attention.runSync({ query: draw(), key: draw(), value: draw(), keyLengths })
      expectTyped(await errorOf(run), 'SHAPE_MISMATCH', 'keyLengths')
    }
  })
})

test.each(['mask', 'bias'] as const)('reference engine: a %s that is detached during a run', async (name) => {
  const [batch, heads, rows] = dims as [number, number, number]
  const size = [batch, heads, rows, rows]
  const length = batch * heads * rows * rows
  const mask = { type: 'bool', dims: size, data: new Uint8Array(length).fill(1) } as const
  const bias = tensor('float32', size, new Float32Array(length))
  using attention = new Attention({ ...options, preset: 'precise', engine: 'reference' })
  const run = attention.run({ query: draw(), key: draw(), value: draw(), mask, bias })
  detach({ mask, bias }[name].data)
  expectTyped(await errorOf(() => run), 'BUFFER_CHANGED', `${name}.data`)
})

test('float64Attention: a getter of value.dims detaches the query', async () => {
  const query = draw()
  const value = withGetter(draw(), 'dims', () => detach(query.data))
  expectTyped(await errorOf(() => float64Attention({ query, key: draw(), value })), 'BUFFER_CHANGED', 'query.data')
})

describe('messages are one short line', () => {
  test.each(['two\nlines', 'x'.repeat(5000), '', '\u0000\u2028', '\ud800', ' '])('unknown name %j', async (name) => {
    for (const action of [
      () => new Attention({ ...options, [name]: 1 }),
      () => new Attention({ ...options, preset: 'precise-1', quantization: { [name]: 'row' } }),
      () => quantize({ values: draw(), scope: 'row', [name]: 1 }),
    ]) {
      const { message } = expectTyped(await errorOf(action), 'UNKNOWN_OPTION')
      expect(message.length).toBeLessThan(500)
      expect(message).not.toMatch(/[\p{C}\u2028]/u)
    }
  })

  test.each([
    ['x'.repeat(1e7)],
    [Array(1e6).fill('y')],
    [{ constructor: { name: 'a\nb'.repeat(99) } }],
    [{ pipeline: 1 }],
  ])('values of any size', async (value) => {
    const error = await errorOf(() => new Attention({ ...options, pipeline: value as never }))
    expect(expectTyped(error, 'INVALID_ARGUMENT', 'pipeline').message.length).toBeLessThan(300)
  })
})
