import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import {
  Attention,
  type AttentionOptions,
  type BlockIntermediates,
  type Float32Tensor,
  float16Value,
  float64Attention,
  type Preset,
} from '../src/index.js'
import { rotationBlock, unrotate } from '../src/reference/version-2/rotation.js'
import { floats, Once } from './support/agreement.js'
import { relativeL2 } from './support/compare.js'
import { describeUnlessEmulated } from './support/emulation.js'
import { describeEachBlockChoice } from './support/engines.js'
import { Random } from './support/random.js'
import { tensor } from './support/tensors.js'

type Tensors = Record<'query' | 'key' | 'value', Float32Tensor>

interface Problem {
  inputs: Tensors & { queryStart?: number[] }
  options?: Pick<AttentionOptions, 'causal'>
}

const headDim = 64
const once = new Once()

const head = (data: ArrayLike<number>) => tensor('float32', [1, 1, data.length / headDim, headDim], data)

/** Queries and keys whose logits have this standard deviation, normal values; fewer rows of many keys, for time. */
function normal(seed: number, keyLength: number, spread: number): Tensors {
  const random = new Random(seed)
  const rowCount = keyLength > 4096 ? 8 : 32
  return {
    query: head(random.normals(rowCount * headDim, spread)),
    key: head(random.normals(keyLength * headDim)),
    value: head(random.normals(keyLength * headDim)),
  }
}

/** A direction that all queries have in common, and no key by chance: along it, keys are given logits. */
function withLogits(tensors: Tensors, logits: ReadonlyMap<number, number>): Tensors {
  const random = new Random(5)
  const direction = random.normals(headDim)
  const norm = Math.hypot(...direction)
  const component = (row: Float32Array) => row.reduce((sum, x, c) => sum + (x * direction[c]!) / norm, 0)
  const set = (row: Float32Array, wanted: number) => {
    const more = wanted - component(row)
    for (let c = 0; c < headDim; c++) row[c]! += (more * direction[c]!) / norm
  }
  const magnitude = Math.sqrt(Math.sqrt(headDim) * Math.max(...Array.from(logits.values(), Math.abs)))
  const [query, key] = [tensors.query.data.slice(), tensors.key.data.slice()]
  for (let i = 0; i < query.length; i += headDim) set(query.subarray(i, i + headDim), magnitude)
  for (let j = 0; j < key.length / headDim; j++) {
    const logit = logits.get(j) ?? 0
    set(key.subarray(j * headDim, (j + 1) * headDim), (Math.sqrt(headDim) * logit) / magnitude)
  }
  return { ...tensors, query: head(query), key: head(key) }
}

/** Three channels of the keys, 20 times as large; with positions, pairs (c, c + 32) rotated as by rotary embedding afterwards. */
function channelOutliers(isRotary: boolean): Tensors {
  const { query, key, value } = normal(17, 1024, 0.2)
  const outliers = key.data.map((x, i) => ([3, 21, 40].includes(i % headDim) ? 20 * x : x))
  return isRotary
    ? { query: rotary(query.data, 1000), key: rotary(outliers, 0), value }
    : { query, key: head(outliers), value }
}

function rotary(data: Float32Array, start: number): Float32Tensor {
  return head(
    data.map((x, i) => {
      const [position, c] = [start + Math.floor(i / headDim), i % headDim]
      const angle = position * 10000 ** (-(c % 32) / 32)
      const other = c < 32 ? -data[i + 32]! : data[i - 32]!
      return x * Math.cos(angle) + other * Math.sin(angle)
    }),
  )
}

/** One layer of a language model on text: rows of its beginning, middle and end. */
function realInput(start: number, rows: number): Problem {
  const file = readFileSync(new URL('../../bench/data/smollm2-135m-layer14.safetensors', import.meta.url))
  const headerLength = Number(file.readBigUInt64LE())
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerLength))
  const read = (name: string, begin: number, end: number): Float32Tensor => {
    const { shape, data_offsets } = header[name]
    const [, heads, length, dim] = shape
    const bits = Array.from({ length: heads * (end - begin) * dim }, (_, i) => {
      const inHead = i % ((end - begin) * dim)
      const index = (Math.floor(i / ((end - begin) * dim)) * length + begin) * dim + inHead
      return file.readUInt16LE(8 + headerLength + data_offsets[0] + 2 * index)
    })
    return tensor('float32', [1, heads, end - begin, dim], bits.map(float16Value))
  }
  const inputs = {
    query: read('query', start, start + rows),
    key: read('key', 0, start + rows),
    value: read('value', 0, start + rows),
  }
  return { inputs, options: { causal: true } }
}

function needle(logit: number): Tensors {
  const tensors = normal(13, 16384, 0.5)
  return withLogits(tensors, new Map([[9000, logit]]))
}

function valueOutlier(): Tensors {
  const { value, ...rest } = normal(14, 1024, 1)
  return { ...rest, value: head(value.data.map((x, i) => (Math.floor(i / headDim) === 300 ? 10 * x : x))) }
}

function sinkOf(logit: number, keyLength: number): Tensors {
  const { value, ...rest } = normal(15, keyLength, 1)
  const means = new Random(16).normals(headDim, 2)
  return withLogits({ ...rest, value: head(value.data.map((x, i) => x + means[i % headDim]!)) }, new Map([[0, logit]]))
}

const kinds: [name: string, make: () => Problem][] = [
  ['near-uniform rows of an image', () => ({ inputs: normal(11, 4096, 0.1) })],
  ['normal, 1024 keys', () => ({ inputs: normal(12, 1024, 1) })],
  ['a sink of 11 over 16,384 keys', () => ({ inputs: sinkOf(11, 16384) })],
  ['a needle that takes nearly all of 16,384 keys', () => ({ inputs: needle(18) })],
  ['a needle that takes part', () => ({ inputs: needle(10) })],
  ['a value ten times as large', () => ({ inputs: valueOutlier() })],
  ['channel outliers', () => ({ inputs: channelOutliers(false) })],
  ['channel outliers before rotary embedding', () => ({ inputs: channelOutliers(true) })],
]

// That every engine gives the same is what the vectors show.
describeUnlessEmulated('fidelity', () => {
  describeEachBlockChoice('to float64', (choice) => {
    const run = (options: Partial<AttentionOptions>, inputs: Problem['inputs']) => {
      const [heads, kvHeads] = [inputs.query.dims[1]!, inputs.key.dims[1]!]
      using attention = new Attention({ heads, kvHeads, headDim, ...options, ...choice })
      const result = attention.runSync({ ...inputs, intermediates: true })
      return { output: floats(result.output), inside: result.intermediates as BlockIntermediates }
    }

    test.each(kinds)('%s: within 1.5 times the floor', (name, make) => {
      const {
        inputs,
        exact,
        options = {},
      } = once.get(name, () => {
        const problem = make()
        return { ...problem, exact: float64Attention({ ...problem.inputs, ...problem.options }) }
      })
      const { output, inside } = run({ preset: 'precise', ...options }, inputs)
      const floor = relativeL2(floorOf(inside, inputs, options), exact)
      const error = relativeL2(output, exact)
      expect(floor).toBeGreaterThan(1e-4)
      expect(error / floor, `error ${error} over floor ${floor}`).toBeLessThan(1.5)
    })

    test('keys 6 below the first, beside many far below: the mass of each counts', () => {
      const [recent, far] = [256, 3800]
      const keyLength = 1 + far + recent
      const logits = new Map(Array.from({ length: keyLength }, (_, j) => [j, j === 0 ? 20 : j <= far ? -10 : 14]))
      const tensors = { ...normal(18, keyLength, 0), value: head(new Float32Array(keyLength * headDim)) }
      tensors.key = head(new Float32Array(keyLength * headDim))
      tensors.value.data.forEach((_, i, all) => {
        const j = Math.floor(i / headDim)
        all[i] = j === 0 ? 0 : j <= far ? -1 : 1
      })
      const inputs = withLogits(tensors, logits)
      const exact = float64Attention(inputs)
      expect(exact[0]).toBeCloseTo(0.388, 3)
      for (const preset of ['precise', 'fast', 'finest'] as const) {
        const { output } = run({ preset }, inputs)
        expect(relativeL2(output, exact), preset).toBeLessThan(0.02)
      }
    })

    const bounds: [Preset, number][] = [
      ['precise', 0.016],
      ['finest', 0.0125],
      ['fast', 0.027],
      ['compact', 0.064],
    ]
    test.each(bounds)('real input, %s: relative L2 error below %f', (preset, bound) => {
      const parts = [0, 504, 1008].map((start) => {
        const { inputs, options, exact } = once.get(`real ${start}`, () => {
          const problem = realInput(start, 16)
          return { ...problem, exact: float64Attention({ ...problem.inputs, ...problem.options }) }
        })
        return { output: run({ preset, ...options }, inputs).output, exact }
      })
      const [actual, exact] = [
        parts.flatMap(({ output }) => Array.from(output)),
        parts.flatMap((part) => Array.from(part.exact)),
      ]
      expect(relativeL2(actual, exact)).toBeLessThan(bound)
    })
  })
})

/** Exact attention over what quantization left of Q, K and V: no arithmetic on these integers is better. */
function floorOf(
  inside: BlockIntermediates,
  { query, key, value }: Tensors,
  options: Problem['options'],
): Float64Array {
  const restored = ({ dims }: Float32Tensor, integers: ArrayLike<number>, scale: Float32Array) =>
    tensor(
      'float32',
      dims,
      Float32Array.from(integers, (q, i) => q * scale[Math.floor(i / headDim)]!),
    )
  const output = float64Attention({
    query: restored(query, inside.queryInt, inside.queryScale),
    key: restored(key, inside.keyInt8, inside.keyScale),
    value: restored(value, inside.valueInt8, inside.valueScale),
    softmaxScale: 1 / (rotationBlock(headDim) * Math.sqrt(headDim)),
    ...options,
  })
  const groups = query.dims[1]! / key.dims[1]!
  for (let row = 0; row < output.length / headDim; row++) {
    const back = Float32Array.from(output.subarray(row * headDim, (row + 1) * headDim))
    unrotate(back, rotationBlock(headDim))
    const kvHead = Math.floor(Math.floor(row / query.dims[2]!) / groups)
    for (let c = 0; c < headDim; c++) output[row * headDim + c] = back[c]! + inside.valueOffset[kvHead * headDim + c]!
  }
  return output
}
