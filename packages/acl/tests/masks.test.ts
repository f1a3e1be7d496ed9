import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  type BoolTensor,
  blockPresets,
  type Float32Tensor,
  float64Attention,
} from '../src/index.js'
import { floats } from './support/agreement.js'
import { expectIdentical } from './support/compare.js'
import { type Choice, describeEachBlockChoice } from './support/engines.js'
import { Random, shareOf } from './support/random.js'
import { tensor } from './support/tensors.js'

/** Arithmetics that take every mask, and those that take no addends. */
const withAddends = [
  { pipeline: 'fp32' },
  { pipeline: 'fp16' },
  { pipeline: 'int8', preset: 'precise-1' },
  ...blockPresets.map((preset) => ({ pipeline: 'int', preset }) as const),
] as const satisfies Partial<AttentionOptions>[]
const byItem = [...withAddends, { pipeline: 'int', preset: 'precise-1' }] as const
/** Preset paper has one scale for all batch items. */
const all = [...byItem, { pipeline: 'int', preset: 'paper' }] as const

const shapes = fc.record({
  seed: fc.nat(),
  batch: fc.integer({ min: 1, max: 3 }),
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 2 }),
  queryLength: fc.integer({ min: 1, max: 6 }),
  keyLength: fc.integer({ min: 1, max: 150 }),
  headDim: fc.integer({ min: 1, max: 12 }),
  valueDim: fc.integer({ min: 1, max: 12 }),
  causal: fc.boolean(),
})
type Shape = typeof shapes extends fc.Arbitrary<infer T> ? T : never

interface Drawn {
  random: Random
  options: AttentionOptions
  inputs: Pick<AttentionInputs, 'query' | 'key' | 'value'> & Record<'query' | 'key' | 'value', Float32Tensor>
  /** [batch, heads, queryLength, keyLength] */
  dims: number[]
}

function draw({ seed, batch, kvHeads, group, queryLength, keyLength, headDim, valueDim, causal }: Shape): Drawn {
  const random = new Random(seed)
  const heads = kvHeads * group
  const normals = (...dims: number[]) => tensor('float32', dims, random.normals(dims.reduce((a, b) => a * b)))
  return {
    random,
    options: { heads, kvHeads, headDim, valueDim, causal },
    inputs: {
      query: normals(batch, heads, queryLength, headDim),
      key: normals(batch, kvHeads, keyLength, headDim),
      value: normals(batch, kvHeads, keyLength, valueDim),
    },
    dims: [batch, heads, queryLength, keyLength],
  }
}

/** A mask over [batch, heads, queryLength, keyLength] or what of it is 1. */
function maskOf(
  dims: number[],
  isSeen: (batch: number, head: number, row: number, key: number) => boolean,
): BoolTensor {
  const [, heads, rows, keys] = dims as [number, number, number, number]
  const data = Uint8Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => {
    const row = Math.floor(i / keys)
    const head = Math.floor(row / rows)
    return isSeen(Math.floor(head / heads), head % heads, row % rows, i % keys) ? 1 : 0
  })
  return { type: 'bool', dims, data }
}

const biasFrom = ({ dims, data }: BoolTensor, hidden: number): Float32Tensor =>
  tensor(
    'float32',
    dims,
    Float32Array.from(data, (seen) => (seen ? 0 : hidden)),
  )

/** One batch item, with rows [begin, end) of the axis of lengths. */
function cut({ dims, data }: Float32Tensor, item: number, begin: number, end: number): Float32Tensor {
  const [, heads, length, dim] = dims as [number, number, number, number]
  const parts = Array.from({ length: heads }, (_, head) => {
    const first = ((item * heads + head) * length + begin) * dim
    return Array.from(data.subarray(first, first + (end - begin) * dim))
  })
  return tensor('float32', [1, heads, end - begin, dim], parts.flat())
}

const ofItem = (output: ArrayLike<number>, item: number, batch: number) => {
  const size = output.length / batch
  return Array.from(output).slice(item * size, (item + 1) * size)
}

describeEachBlockChoice('what is the same by another mask', (choice) => {
  const run = (options: AttentionOptions, inputs: AttentionInputs) => outputOf({ ...options, ...choice }, inputs)
  /** Version 1 has masks, but for positions, on the reference engine alone. */
  const had = <T extends object>(arithmetics: readonly T[]) =>
    choice.engine === 'reference'
      ? arithmetics
      : arithmetics.filter((of) => !('preset' in of) || blockPresets.includes(of.preset as never))
  const property = (runs: number, check: (drawn: Drawn, shape: Shape) => void) =>
    fc.assert(
      fc.property(shapes, (shape) => check(draw(shape), shape)),
      { numRuns: shareOf(runs) },
    )

  describe.each(byItem)('%o', (arithmetic) => {
    test('a batch padded on the right, item by item', () => {
      property(12, ({ random, options, inputs, dims }) => {
        const [batch, , queryLength, keyLength] = dims as [number, number, number, number]
        const keyLengths = Array.from({ length: batch }, () => random.integer(0, keyLength))
        const of = { ...arithmetic, ...options }
        const whole = run(of, { ...inputs, keyLengths, queryStart: new Array(batch).fill(0) })
        for (const [item, keys] of keyLengths.entries()) {
          if (keys === 0) continue
          const [key, value] = [cut(inputs.key, item, 0, keys), cut(inputs.value, item, 0, keys)]
          const alone = run(of, { query: cut(inputs.query, item, 0, queryLength), key, value, queryStart: [0] })
          expectIdentical(ofItem(whole, item, batch), alone, `item ${item}`)
        }
      })
    })

    test('a ragged batch, whose last rows are the last keys of each item', () => {
      property(12, ({ random, options, inputs, dims }) => {
        const [batch, , queryLength, keyLength] = dims as [number, number, number, number]
        const keyLengths = Array.from({ length: batch }, () => random.integer(1, keyLength))
        const queryStart = Int32Array.from(keyLengths, (keys) => keys - queryLength)
        const of = { ...arithmetic, ...options }
        const whole = run(of, { ...inputs, keyLengths, queryStart })
        for (const [item, keys] of keyLengths.entries()) {
          const [key, value] = [cut(inputs.key, item, 0, keys), cut(inputs.value, item, 0, keys)]
          const alone = run(of, { query: cut(inputs.query, item, 0, queryLength), key, value })
          expectIdentical(ofItem(whole, item, batch), alone, `item ${item}`)
        }
      })
    })
  })

  describe.each(had(byItem))('%o', (arithmetic) => {
    test('a batch padded on the left: item by item to the bit, and nearly as without padding', () => {
      property(12, ({ random, options, inputs, dims }) => {
        const [batch, , queryLength, keyLength] = dims as [number, number, number, number]
        const padding = Array.from({ length: batch }, () => random.integer(0, keyLength - 1))
        const of = { ...arithmetic, ...options }
        const mask = maskOf([batch, 1, 1, keyLength], (item, _head, _row, key) => key >= padding[item]!)
        const whole = run(of, { ...inputs, mask })
        for (const [item, pad] of padding.entries()) {
          const query = cut(inputs.query, item, 0, queryLength)
          const [key, value] = [cut(inputs.key, item, 0, keyLength), cut(inputs.value, item, 0, keyLength)]
          const data = mask.data.subarray(item * keyLength, (item + 1) * keyLength)
          const alone = run(of, { query, key, value, mask: { type: 'bool', dims: [1, 1, 1, keyLength], data } })
          expectIdentical(ofItem(whole, item, batch), alone, `item ${item}`)
          const [keys, values] = [cut(inputs.key, item, pad, keyLength), cut(inputs.value, item, pad, keyLength)]
          const short = run(of, { query, key: keys, value: values })
          expectNear(alone, short, 2 * toleranceOf(arithmetic), value)
        }
      })
    })
  })

  describe.each(had(all))('%o', (arithmetic) => {
    test('causal, window and kept keys, and the same as a mask', () => {
      property(20, ({ random, options, inputs, dims }, { causal }) => {
        const [batch, , , keyLength] = dims as [number, number, number, number]
        const [window, keepFirst] = [random.integer(1, 80), random.integer(0, 5)]
        const queryStart = Array.from({ length: batch }, () => random.integer(-3, keyLength + 3))
        const mask = maskOf(dims, (item, _, row, key) => {
          const position = queryStart[item]! + row
          return (!causal || key <= position) && (key > position - window || key < keepFirst)
        })
        const of = { ...arithmetic, ...options }
        const wanted = run({ ...of, window, keepFirst }, { ...inputs, queryStart })
        expectIdentical(run({ ...of, causal: false }, { ...inputs, mask }), wanted, 'output')
      })
    })

    test('a mask that is shared, and the same for each', () => {
      property(12, ({ random, options, inputs, dims }) => {
        const shared = dims.map((dim, axis) => (axis < 3 && random.chance(0.5) ? 1 : dim))
        const seed = random.integer(0, 2 ** 30)
        const isSeen = (...place: number[]) => {
          const index = place.reduce((sum, at, axis) => (shared[axis] === 1 ? sum : sum * 251 + at + 1), seed)
          return new Random(index).chance(0.6)
        }
        const of = { ...arithmetic, ...options }
        const wanted = run(of, { ...inputs, mask: maskOf(shared, isSeen) })
        expectIdentical(run(of, { ...inputs, mask: maskOf(dims, isSeen) }), wanted, 'output')
      })
    })
  })

  describe.each(had(withAddends))('%o', (arithmetic) => {
    test('hidden by a mask, by a bias of -infinity, by the lowest bias', () => {
      property(12, ({ random, options, inputs, dims }) => {
        const mask = maskOf(dims, () => random.chance(0.6))
        const of = { ...arithmetic, ...options }
        const wanted = run(of, { ...inputs, mask })
        for (const hidden of [Number.NEGATIVE_INFINITY, -3.4028234663852886e38]) {
          expectIdentical(run(of, { ...inputs, bias: biasFrom(mask, hidden) }), wanted, `bias of ${hidden}`)
        }
        const half = {
          ...biasFrom(mask, Number.NEGATIVE_INFINITY),
          type: 'float16',
          data: Uint16Array.from(mask.data, (seen) => (seen ? 0 : 0xfc00)),
        } as const
        expectIdentical(run(of, { ...inputs, bias: half }), wanted, 'bias of float16')
      })
    })

    test('slopes, and the same as a bias', () => {
      property(12, ({ random, options, inputs, dims }) => {
        const [batch, heads, rows, keyLength] = dims as [number, number, number, number]
        const alibiSlopes = Array.from({ length: heads }, () => 2 ** -random.integer(0, 8))
        const queryStart = Array.from({ length: batch }, () => random.integer(-3, keyLength + 3))
        const bias = Float32Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => {
          const row = Math.floor(i / keyLength)
          const head = Math.floor(row / rows)
          return alibiSlopes[head % heads]! * ((i % keyLength) - (queryStart[Math.floor(head / heads)]! + (row % rows)))
        })
        const of = { ...arithmetic, ...options }
        const wanted = run({ ...of, alibiSlopes }, { ...inputs, queryStart })
        expectIdentical(run(of, { ...inputs, queryStart, bias: tensor('float32', dims, bias) }), wanted, 'output')
      })
    })

    test('a sink of -infinity, and none', () => {
      property(8, ({ options, inputs, dims }) => {
        const off = {
          ...arithmetic,
          ...options,
          causal: true,
          ...(arithmetic.pipeline === 'int8' && { smoothKey: false, centerValue: false }),
        }
        const sinks = new Array<number>(dims[1]!).fill(Number.NEGATIVE_INFINITY)
        expectIdentical(run({ ...off, sinks }, inputs), run(off, inputs), 'output')
      })
    })

    test('float64 attention, nearly, whatever is asked for at once', () => {
      property(20, ({ random, options, inputs, dims }) => {
        const [batch, heads, , keyLength] = dims as [number, number, number, number]
        const maybe = <T extends object>(what: T): T | Record<string, never> => (random.chance(0.5) ? what : {})
        const settings = {
          ...maybe({ window: random.integer(1, 60), keepFirst: random.integer(0, 3) }),
          ...maybe({ alibiSlopes: Array.from({ length: heads }, () => 2 ** -random.integer(2, 8)) }),
          ...maybe({ sinks: Float32Array.from({ length: heads }, () => random.normal()) }),
        }
        const masks = {
          ...maybe({ keyLengths: Array.from({ length: batch }, () => random.integer(0, keyLength)) }),
          ...maybe({ queryStart: Array.from({ length: batch }, () => random.integer(0, keyLength)) }),
          ...maybe({ mask: maskOf([batch, 1, 1, keyLength], () => random.chance(0.8)) }),
          ...maybe({ bias: tensor('float32', [1, heads, 1, keyLength], random.normals(heads * keyLength)) }),
        }
        const { causal = false } = options
        const exact = float64Attention({ ...inputs, ...masks, ...settings, causal })
        const actual = run({ ...arithmetic, ...options, ...settings }, { ...inputs, ...masks })
        expectNear(actual, exact, toleranceOf(arithmetic), inputs.value)
      })
    })
  })
})

/** Of the largest value; rows here are short, so that a single rounding is seen. */
const tolerances: Record<string, number> = {
  ...{ fp32: 1e-6, fp16: 3e-3, int8: 0.15, 'precise-1': 0.15 },
  ...{ precise: 0.06, fast: 0.12, compact: 0.25, finest: 0.05 },
}
const toleranceOf = ({ pipeline, ...rest }: (typeof byItem)[number]): number =>
  tolerances[pipeline === 'int' && 'preset' in rest ? rest.preset : pipeline]!

function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, value: Float32Tensor) {
  const allowed = tolerance * value.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i]! - expected[i]!) <= allowed)) {
      expect.fail(`output[${i}] of ${expected.length}: ${actual[i]}, expected ${expected[i]} ± ${allowed}`)
    }
  }
}

function outputOf(options: AttentionOptions & Choice, inputs: AttentionInputs): ArrayLike<number> {
  using attention = new Attention(options)
  return floats(attention.runSync(inputs).output)
}
