import { describe, expect, test } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  type Float16ArrayLike,
  type Float16Tensor,
  type Float32Tensor,
  type FloatTensor,
  float16Bits,
  type Tensor,
} from '../src/index.js'
import { floats, referenceRun } from './support/agreement.js'
import { expectClose, expectIdentical } from './support/compare.js'
import { errorOf, expectTyped } from './support/errors.js'
import { scaleCountOf } from './support/problems.js'
import { Random } from './support/random.js'
import { tensor } from './support/tensors.js'

const options: AttentionOptions = { heads: 2, headDim: 16 }
/** Scales as those of version 1. */
const version1: AttentionOptions = { ...options, preset: 'precise-1' }
const dims = [1, 2, 300, 16]
const length = 9600
const random = new Random(17)
const values = { query: random.normals(length), key: random.normals(length), value: random.normals(length) }
const plain = (data: Float32Array): Float32Tensor => ({ type: 'float32', dims, data })
const inputs = { query: plain(values.query), key: plain(values.key), value: plain(values.value) }
const names = ['query', 'key', 'value'] as const
const expected = (() => {
  using attention = new Attention(options)
  return attention.runSync(inputs).output.data as Float32Array
})()

async function bothRuns(given: AttentionInputs, check: (output: Tensor) => void, asked = options): Promise<void> {
  using attention = new Attention(asked)
  check(attention.runSync(given).output)
  check((await attention.run(given)).output)
}

// TypeScript's library for Node 20 does not declare these.
type Resizable = ArrayBuffer & { resize(bytes: number): void; resizable: boolean }
const resizable = (bytes: number, maxByteLength = bytes): Resizable =>
  Reflect.construct(ArrayBuffer, [bytes, { maxByteLength }]) as Resizable
const Float16Array = Reflect.get(globalThis, 'Float16Array') as
  | (new (
      values: ArrayLike<number>,
    ) => Float16ArrayLike)
  | undefined

describe('what arrays may be', () => {
  test('views at any offset of a larger buffer', async () => {
    for (const offset of [1, 3, 5, 7]) {
      const buffer = new ArrayBuffer(4 * (4 * length + 64))
      const view = (position: number, data?: Float32Array) => {
        const array = new Float32Array(buffer, 4 * (offset + position * (length + 7)), length)
        if (data) array.set(data)
        return plain(array)
      }
      const given = { query: view(0, values.query), key: view(1, values.key), value: view(2, values.value) }
      await bothRuns(given, ({ data }) => expectIdentical(data as Float32Array, expected, 'output'))
      const output = view(3)
      await bothRuns({ ...given, output }, (result) => {
        expect(result).toBe(output)
        expectIdentical(output.data as Float32Array, expected, 'output')
        ;(output.data as Float32Array).fill(0)
      })
      const around = new Float32Array(buffer)
      for (const gap of [1, 2, 3]) expect(around[offset + gap * (length + 7) - 1]).toBe(0)
      expect(around[offset + 3 * (length + 7) + length]).toBe(0)
    }
  })

  test('int8 and float16 views at odd offsets', async () => {
    const scale = Float32Array.of(0, 0.02, 0.03).subarray(1)
    const bytes = new Int8Array(length + 13)
    const integers = bytes.subarray(13).map(() => random.integer(-127, 127))
    bytes.set(integers, 13)
    const halves = new Uint16Array(length + 5)
    halves.set(Array.from(values.value, float16Bits), 5)
    const given = {
      query: inputs.query,
      key: { type: 'int8', dims, data: bytes.subarray(13), scale } as const,
      value: { type: 'float16', dims, data: halves.subarray(5) } as const,
    }
    const reference = referenceRun(version1, given).output.data as Float32Array
    const check = ({ data }: Tensor) => expectClose(data as Float32Array, reference, 1e-5, 'output')
    await bothRuns(given, check, version1)
  })

  test('shared and growable shared memory', async () => {
    const shared = (growable: boolean) => (data: Float32Array) => {
      const bytes = data.byteLength
      const buffer = growable
        ? (Reflect.construct(SharedArrayBuffer, [bytes, { maxByteLength: 2 * bytes }]) as SharedArrayBuffer)
        : new SharedArrayBuffer(bytes)
      const array = new Float32Array(buffer)
      array.set(data)
      return plain(array)
    }
    for (const share of [shared(false), shared(true)]) {
      const given = { query: share(values.query), key: share(values.key), value: share(values.value) }
      const output = share(new Float32Array(length))
      await bothRuns({ ...given, output }, ({ data }) => expectIdentical(data as Float32Array, expected, 'output'))
    }
  })

  test("WebAssembly's memory", async () => {
    type Memory = new (limits: { initial: number }) => { buffer: ArrayBuffer }
    const { Memory } = Reflect.get(globalThis, 'WebAssembly') as { Memory: Memory }
    const memory = new Memory({ initial: 2 })
    const data = new Float32Array(memory.buffer, 64, length)
    data.set(values.key)
    const given = { ...inputs, key: plain(data) }
    await bothRuns(given, (output) => expectIdentical(output.data as Float32Array, expected, 'output'))
  })

  test('arrays of another realm, subclasses, and arrays with lying properties', async () => {
    const { runInNewContext } = await import('node:vm')
    const foreign = runInNewContext(`new Float32Array(${length})`) as Float32Array
    foreign.set(values.query)
    class Subclass extends Float32Array {}
    const sub = new Subclass(values.key)
    const lying = Float32Array.from(values.value)
    Object.defineProperty(lying, 'length', { value: 10 ** 9 })
    Object.defineProperty(lying, 'byteLength', { value: 4 })
    const given = { query: plain(foreign), key: plain(sub), value: plain(lying) }
    await bothRuns(given, ({ data }) => expectIdentical(data as Float32Array, expected, 'output'))
  })

  test('the same array as query, key and value', async () => {
    const same = { query: inputs.query, key: inputs.query, value: inputs.query }
    const reference = referenceRun(options, same).output.data as Float32Array
    await bothRuns(same, ({ data }) => expectClose(data as Float32Array, reference, 1e-5, 'output'))
  })

  test('float16 outputs, as bits', async () => {
    const output: FloatTensor = { type: 'float16', dims, data: new Uint16Array(length) }
    await bothRuns({ ...inputs, output }, (result) => {
      expectIdentical(result.data as Uint16Array, Uint16Array.from(expected, float16Bits), 'output')
    })
  })

  const title = 'Float16Array in and out'
  test.skipIf(!Float16Array)(Float16Array ? title : `${title}: not run here, this runtime has none`, async () => {
    const half = (data: Float32Array): Float16Tensor => ({ type: 'float16', dims, data: new Float16Array!(data) })
    const given = { query: half(values.query), key: half(values.key), value: half(values.value) }
    const bits = (data: Float32Array) => tensor('float16', dims, data)
    const asBits = { query: bits(values.query), key: bits(values.key), value: bits(values.value) }
    using attention = new Attention(options)
    const reference = attention.runSync({ ...asBits, output: bits(new Float32Array(length)) }).output
    await bothRuns({ ...given, output: half(new Float32Array(length)) }, (result) => {
      expectClose(result.data as unknown as ArrayLike<number>, floats(reference), 0, 'output')
    })
  })

  test('key lengths as Uint32Array or plain array', () => {
    using attention = new Attention(options)
    const list = attention.runSync({ ...inputs, keyLengths: [123] }).output.data as Float32Array
    const array = attention.runSync({ ...inputs, keyLengths: Uint32Array.of(123) }).output.data as Float32Array
    expectIdentical(array, list, 'output')
  })

  test('a mix of types, every scope', () => {
    const integers = Int8Array.from({ length }, () => random.integer(-127, 127))
    for (const query of ['tensor', 'head', 'row'] as const) {
      for (const key of ['tensor', 'head'] as const) {
        for (const value of ['tensor', 'head', 'channel'] as const) {
          const scaled = (scope: string): Tensor => {
            const scale = Float32Array.from({ length: scaleCountOf(scope, dims) }, () => 0.01 + 0.02 * random.next())
            return tensor('int8', dims, integers, scale)
          }
          const all = { ...version1, quantization: { query, key, value } }
          using attention = new Attention(all)
          for (const given of [
            { query: scaled(query), key: scaled(key), value: scaled(value) },
            { query: inputs.query, key: scaled(key), value: tensor('float16', dims, values.value) },
          ]) {
            const reference = referenceRun(all, given).output.data as Float32Array
            expectClose(attention.runSync(given).output.data as Float32Array, reference, 1e-5, 'output')
          }
        }
      }
    }
  })
})

describe('buffers that change while a run is under way', () => {
  const track = (data: Float32Array, view: 'tracking' | 'fixed') => {
    const buffer = resizable(data.byteLength, 2 * data.byteLength)
    const array = view === 'tracking' ? new Float32Array(buffer) : new Float32Array(buffer, 0, data.length)
    array.set(data)
    return { buffer, tensor: plain(array) }
  }

  test('resizable buffers that stay as they are', async () => {
    const [query, key, value] = names.map((name) => track(values[name], 'tracking').tensor)
    const output = track(new Float32Array(length), 'fixed').tensor
    const given = { query: query!, key: key!, value: value!, output }
    await bothRuns(given, ({ data }) => expectIdentical(data as Float32Array, expected, 'output'))
  })

  test.each(['query', 'key', 'value', 'output'] as const)('%s shrinks, grows, is detached', async (name) => {
    using attention = new Attention(options)
    for (const view of ['tracking', 'fixed'] as const) {
      for (const bytes of [0, 64, length * 4 - 4]) {
        const { buffer, tensor: changing } = track(name === 'output' ? new Float32Array(length) : values[name], view)
        const run = attention.run({ ...inputs, [name]: changing })
        buffer.resize(bytes)
        expectTyped(await errorOf(() => run), 'BUFFER_CHANGED', `${name}.data`)
      }
    }
    const growing = track(name === 'output' ? new Float32Array(length) : values[name], 'fixed')
    const run = attention.run({ ...inputs, [name]: growing.tensor })
    growing.buffer.resize(length * 8)
    expectIdentical((await run).output.data as Float32Array, expected, 'output')

    const { buffer } = new Float32Array(length)
    const detaching = attention.run({ ...inputs, [name]: plain(new Float32Array(buffer)) })
    const kept = structuredClone(buffer, { transfer: [buffer] })
    const error = expectTyped(await errorOf(() => detaching), 'BUFFER_CHANGED', `${name}.data`)
    expect(error.received).toBe('a detached Float32Array')
    expect(kept.byteLength).toBe(length * 4)
  })

  test('a queued run finds its input detached', async () => {
    using attention = new Attention(options)
    const first = attention.run(inputs)
    const { buffer } = new Float32Array(length)
    const second = attention.run({ ...inputs, key: plain(new Float32Array(buffer)) })
    structuredClone(buffer, { transfer: [buffer] })
    await first
    expectTyped(await errorOf(() => second), 'BUFFER_CHANGED', 'key.data')
  })

  test('a copied input is the one of the call, whatever is written later', async () => {
    using attention = new Attention(options)
    const { tensor: changing } = track(values.value, 'tracking')
    const run = attention.run({ ...inputs, value: changing })
    ;(changing.data as Float32Array).fill(Number.NaN)
    expectIdentical((await run).output.data as Float32Array, expected, 'output')
  })

  test('the description of a tensor may change after the call', async () => {
    using attention = new Attention(version1)
    const query = { ...inputs.query, dims: [...dims] }
    const scale = Float32Array.of(1, 1)
    const key = tensor('int8', dims, new Int8Array(length).fill(1), scale)
    const keyLengths = Uint32Array.of(200)
    const run = attention.run({ query, key, value: inputs.value, keyLengths })
    query.dims.fill(-1)
    scale.fill(0)
    keyLengths.fill(4e9)
    expect(((await run).output.data as Float32Array).every(Number.isFinite)).toBe(true)
  })
})
