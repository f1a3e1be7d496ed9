import { describe, expect, test } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  type BFloat16Tensor,
  bfloat16Bits,
  bfloat16Value,
  blockPresets,
  type Float32Tensor,
  type FloatTensor,
  float16Bits,
  float64Attention,
  quantize,
  type Tensor,
} from '../src/index.js'
import { floats, forSeeds, runOnce } from './support/agreement.js'
import { expectIdentical } from './support/compare.js'
import { type Choice, choices, describeEachEngine, presetOf } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { elements, layOut, numbers, starts, touched } from './support/layouts.js'
import { Random, seedOf } from './support/random.js'
import { count, tensor } from './support/tensors.js'

const version1 = [
  { preset: 'precise-1' },
  { preset: 'paper' },
  { pipeline: 'int8' },
  { pipeline: 'fp32' },
  { pipeline: 'fp16' },
] as const satisfies Partial<AttentionOptions>[]

/** Arithmetics that an engine has. */
function drawArithmetic(random: Random, { engine }: Choice): Partial<AttentionOptions> {
  if (engine === 'acl' || random.chance(0.3)) return random.pick(version1)
  return { preset: random.pick(blockPresets), valueDim: random.integer(1, 20) }
}

const bfloat16 = (dims: readonly number[], values: ArrayLike<number>): BFloat16Tensor => ({
  type: 'bfloat16',
  dims,
  data: Uint16Array.from(values, bfloat16Bits),
})

describe.each([{ engine: 'reference' }, ...choices] as Choice[])('layouts, %o', (choice) => {
  test('any layout gives what the dense one gives, to the bit', async () => {
    await forSeeds(seedOf(7000), 150, (seed) => {
      const random = new Random(seed)
      const arithmetic = drawArithmetic(random, choice)
      const kvHeads = random.integer(1, 2)
      const [batch, heads, headDim] = [random.integer(1, 2), kvHeads * random.integer(1, 2), random.integer(1, 20)]
      const [queryLength, keyLength] = [random.integer(1, 6), random.integer(1, 90)]
      const options = { heads, kvHeads, headDim, causal: random.chance(0.5), ...arithmetic, ...choice, threads: 2 }
      const { valueDim = headDim } = options

      const isInt8 = random.chance(0.2) && 'preset' in arithmetic && arithmetic.preset !== 'compact'
      const floatTypes = ['float32', 'float16', 'bfloat16'] as const
      /** A tensor, and the same numbers dense and without bfloat16. */
      const draw = (dims: number[], scales: number): [laidOut: Tensor, dense: Tensor] => {
        if (isInt8) {
          const scale = Float32Array.from({ length: scales }, () => 0.01 + 0.02 * random.next())
          const integers = Int8Array.from({ length: count(dims) }, () => random.integer(-60, 60))
          const dense = tensor('int8', dims, integers, scale)
          return [layOut(random, dense), dense]
        }
        const type = random.pick(floatTypes)
        const values = random.normals(count(dims))
        if (type !== 'bfloat16') {
          const dense = tensor(type, dims, values)
          return [layOut(random, dense), dense]
        }
        const halves = bfloat16(dims, values)
        return [layOut(random, halves), tensor('float32', dims, numbers(halves))]
      }
      const scalesOf = (scope: 'query' | 'key' | 'value', rows: number, channels: number) => {
        if (arithmetic.preset !== 'precise-1') return 1
        return { query: rows, key: batch * kvHeads, value: channels }[scope]
      }
      const query = draw([batch, heads, queryLength, headDim], scalesOf('query', batch * heads * queryLength, 0))
      const key = draw([batch, kvHeads, keyLength, headDim], scalesOf('key', 0, 0))
      const value = draw([batch, kvHeads, keyLength, valueDim], scalesOf('value', 0, batch * kvHeads * valueDim))
      const bias =
        random.chance(0.3) && 'valueDim' in arithmetic
          ? bfloat16([1, heads, 1, keyLength], random.normals(heads * keyLength))
          : undefined
      const denseBias = bias && tensor('float32', bias.dims, numbers(bias))

      const dense = runOnce(options, {
        ...{ query: query[1], key: key[1], value: value[1] },
        ...(denseBias && { bias: denseBias }),
      })
      const wanted = floats(dense.output)
      const type = random.pick(floatTypes)
      const shape = [batch, heads, queryLength, valueDim]
      const empty = {
        type,
        dims: shape,
        data: new { float32: Float32Array, float16: Uint16Array, bfloat16: Uint16Array }[type](count(shape)),
      }
      const output = layOut(random, empty as FloatTensor)
      const result = runOnce(options, {
        ...{ query: query[0], key: key[0], value: value[0], output },
        ...(bias && { bias: layOut(random, bias) as FloatTensor }),
      })
      expect(result.output).toBe(output)
      const rounded = { float32: Math.fround, float16: float16Bits, bfloat16: bfloat16Bits }[type]
      expectIdentical(
        elements(output),
        Array.from(wanted, rounded),
        `output of ${JSON.stringify(arithmetic)} as ${type}`,
      )
      expect(touched(output)).toEqual([])
    })
  })

  test('Q, K, V and the output in one buffer, position by position', async () => {
    const random = new Random(31)
    const options = {
      heads: 4,
      kvHeads: 2,
      headDim: 16,
      causal: true,
      preset: presetOf(choice, 'int').preset!,
      ...choice,
    }
    using attention = new Attention(options)
    for (const Buffer of [ArrayBuffer, SharedArrayBuffer]) {
      const { inputs, output } = packed(random, Buffer, options)
      const dense = (given: Tensor) => tensor('float32', given.dims, elements(given))
      const { query, key, value } = inputs
      const wanted = floats(attention.runSync({ query: dense(query), key: dense(key), value: dense(value) }).output)
      for (const run of [attention.run.bind(attention), attention.runSync.bind(attention)]) {
        for (const start of starts(output)) output.data.fill(Number.NaN, start, start + 16)
        await run({ ...inputs, output })
        expectIdentical(elements(output), wanted, 'output')
      }
    }
  })

  test('one key-value head for all, by a stride of 0', () => {
    const random = new Random(32)
    const options = { heads: 3, headDim: 8, preset: presetOf(choice, 'int').preset!, ...choice }
    const query = tensor('float32', [2, 3, 4, 8], random.normals(192))
    const one = random.normals(80)
    const shared = { type: 'float32', dims: [2, 3, 10, 8], strides: [0, 0, 8, 1], data: one } as const
    const repeated = tensor('float32', shared.dims, elements(shared))
    expectIdentical(
      floats(runOnce(options, { query, key: shared, value: shared }).output),
      floats(runOnce(options, { query, key: repeated, value: repeated }).output),
      'output',
    )
  })

  test('what happened inside is in the order of dims', () => {
    const random = new Random(33)
    const options = { heads: 2, headDim: 8, preset: presetOf(choice, 'int').preset!, ...choice }
    const inputs = {
      query: tensor('float32', [1, 2, 5, 8], random.normals(80)),
      key: tensor('float32', [1, 2, 66, 8], random.normals(1056)),
      value: tensor('float32', [1, 2, 66, 8], random.normals(1056)),
    }
    const laidOut = {
      query: layOut(random, inputs.query),
      key: layOut(random, inputs.key),
      value: layOut(random, inputs.value),
    }
    const [dense, strided] = [inputs, laidOut].map((given) => runOnce(options, { ...given, intermediates: true }))
    expect(strided!.intermediates).toEqual(dense!.intermediates)
  })
})

type Packed = Record<'query' | 'key' | 'value' | 'output', Float32Tensor & { strides: number[] }>

/** [batch, length, heads + 2 kvHeads + heads, headDim] in memory that is aligned to its elements alone. */
function packed(
  random: Random,
  Buffer: ArrayBufferConstructor | SharedArrayBufferConstructor,
  { heads, kvHeads, headDim }: { heads: number; kvHeads: number; headDim: number },
): { inputs: Omit<Packed, 'output'>; output: Packed['output'] } {
  const [batch, length] = [2, 70]
  const width = 2 * (heads + kvHeads) * headDim
  const all = new Float32Array(new Buffer(4 * (batch * length * width + 1)), 4)
  all.set(random.normals(all.length))
  const part = (first: number, ofHeads: number) => ({
    type: 'float32' as const,
    dims: [batch, ofHeads, length, headDim],
    strides: [length * width, headDim, width, 1],
    data: all.subarray(first * headDim),
  })
  return {
    inputs: { query: part(0, heads), key: part(heads, kvHeads), value: part(heads + kvHeads, kvHeads) },
    output: part(heads + 2 * kvHeads, heads),
  }
}

describeEachEngine('layouts that cannot be', (engine) => {
  const options = { heads: 4, kvHeads: 2, headDim: 16, preset: presetOf({ engine }, 'int').preset!, engine }
  const { inputs, output } = packed(new Random(34), SharedArrayBuffer, options)
  const cases: [string, 'query' | 'key' | 'value' | 'output', unknown, string, string][] = [
    ['a negative stride', 'key', [1, 1, -1, 1], 'INVALID_ARGUMENT', 'key.strides[2]'],
    ['half an element', 'query', [1, 0.5, 1, 1], 'INVALID_ARGUMENT', 'query.strides[1]'],
    ['text', 'value', ['1', 1, 1, 1], 'INVALID_ARGUMENT', 'value.strides[0]'],
    ['NaN', 'value', [Number.NaN, 1, 1, 1], 'INVALID_ARGUMENT', 'value.strides[0]'],
    ['rows with gaps between elements', 'query', [1, 1, 1, 2], 'INVALID_ARGUMENT', 'query.strides[3]'],
    ['three strides', 'query', [1, 1, 1], 'SHAPE_MISMATCH', 'query.strides'],
    ['no list', 'query', 5, 'SHAPE_MISMATCH', 'query.strides'],
    ['null', 'query', null, 'SHAPE_MISMATCH', 'query.strides'],
    ['beyond the array', 'key', [0, 0, 1e6, 1], 'SHAPE_MISMATCH', 'key.data'],
    ['far beyond the array', 'key', [2 ** 53 - 1, 2 ** 53 - 1, 2 ** 53 - 1, 1], 'SHAPE_MISMATCH', 'key.data'],
    ['output beyond the array', 'output', [1e9, 16, 64, 1], 'SHAPE_MISMATCH', 'output.data'],
    ['rows of the output that repeat', 'output', [0, 16, 192, 1], 'INVALID_ARGUMENT', 'output.strides'],
    ['rows of the output that overlap', 'output', [13440, 15, 192, 1], 'INVALID_ARGUMENT', 'output.strides'],
    ['heads of the output across rows', 'output', [13440, 16, 32, 1], 'INVALID_ARGUMENT', 'output.strides'],
  ]
  test.each(cases)('%s', async (_, name, strides, code, argument) => {
    using attention = new Attention(options)
    const given = { ...inputs, output }
    const bad = { ...given, [name]: { ...given[name], strides } } as AttentionInputs
    for (const run of [attention.run.bind(attention), attention.runSync.bind(attention)]) {
      expectTyped(await errorOf(() => run(bad)), code, argument)
    }
  })

  test('one element beyond the last', async () => {
    using attention = new Attention(options)
    const { query } = inputs
    const reach = Math.max(...starts(query)) + 16
    attention.runSync({ ...inputs, query: { ...query, data: query.data.subarray(0, reach) } })
    const short = { ...query, data: query.data.subarray(0, reach - 1) }
    const error = expectTyped(
      await errorOf(() => attention.runSync({ ...inputs, query: short })),
      'SHAPE_MISMATCH',
      'query.data',
    )
    expect(error.expected).toContain(`${reach}`)
  })

  test('an output among the rows of an input, and one that meets them', async () => {
    using attention = new Attention(options)
    for (const [shift, argument] of [
      [0, undefined],
      [-1, 'value'],
      [-2 * 16, 'value'],
      [-4 * 16, 'key'],
      [-8 * 16, 'query'],
    ] as const) {
      const first = output.data.byteOffset + 4 * shift
      // The same memory under another name: what JavaScript calls another buffer, engines know by its address.
      const buffers = [output.data.buffer, ...(engine === 'native' ? [structuredClone(output.data.buffer)] : [])]
      for (const buffer of buffers) {
        const moved = { ...output, data: new Float32Array(buffer, first, output.data.length) }
        const run = () => attention.runSync({ ...inputs, output: moved })
        if (argument) {
          expectTyped(await errorOf(run), 'INVALID_ARGUMENT', 'output')
        } else run()
      }
    }
  })

  test('NaN is named where it is', async () => {
    using attention = new Attention({ ...options, causal: false })
    const data = inputs.value.data.slice()
    const at = 1 * 13440 + 1 * 16 + 33 * 192 + 5
    data[at] = Number.NaN
    const error = expectTyped(
      await errorOf(() => attention.runSync({ ...inputs, value: { ...inputs.value, data } })),
      'NON_FINITE',
      'value',
    )
    expect(error.received).toContain(`[1, 1, 33, 5] (element ${at})`)
  })

  test('bfloat16 outputs hold magnitudes below 1.99609375 · 2^127', async () => {
    const row = (x: number) => tensor('float32', [1, 1, 1, 1], [x])
    using attention = new Attention({ pipeline: 'fp32', heads: 1, headDim: 1, engine })
    const limit = (511 / 256) * 2 ** 127
    const output = { type: 'bfloat16', dims: [1, 1, 1, 1], data: new Uint16Array(1) } as const
    const run = (x: number) => attention.runSync({ query: row(0), key: row(0), value: row(x), output })
    run(-limit * (1 - 2 ** -20))
    expect(output.data[0]).toBe(0xff7f)
    expectTyped(await errorOf(() => run(limit)), 'NON_FINITE', 'output')
  })
})

describe('functions on their own', () => {
  test('float64Attention and quantize take layouts and bfloat16', () => {
    const random = new Random(35)
    const halves = (dims: number[]) => bfloat16(dims, random.normals(count(dims)))
    const inputs = { query: halves([2, 4, 3, 6]), key: halves([2, 2, 9, 6]), value: halves([2, 2, 9, 5]) }
    const dense = (given: Tensor) => tensor('float32', given.dims, numbers(given))
    const { query, key, value } = inputs
    expectIdentical(
      float64Attention({ query: layOut(random, query), key: layOut(random, key), value: layOut(random, value) }),
      float64Attention({ query: dense(query), key: dense(key), value: dense(value) }),
      'output',
    )
    const wanted = quantize({ values: dense(key), scope: 'row' })
    expect(quantize({ values: layOut(random, key), scope: 'row' })).toEqual(wanted)
  })

  test('bfloat16 is the upper half of float32, rounded to nearest, ties to even', () => {
    for (const [x, bits] of [
      [1, 0x3f80],
      [1 + 2 ** -8, 0x3f80],
      [1 + 3 * 2 ** -8, 0x3f82],
      [1 + 2 ** -8 + 2 ** -23, 0x3f81],
      [-0, 0x8000],
      [2 ** -133, 1],
      [Number.POSITIVE_INFINITY, 0x7f80],
      [3.4e38, 0x7f80],
      [Number.NaN, 0x7fc0],
    ] as const) {
      expect(bfloat16Bits(x)).toBe(bits)
    }
    for (let bits = 0; bits < 0x7f80; bits += 7) expect(bfloat16Bits(bfloat16Value(bits))).toBe(bits)
  })
})
