import {
  type AttentionInputs,
  type AttentionOptions,
  type BoolTensor,
  blockPresets,
  type FloatTensor,
  type Tensor,
} from '../../src/index.js'
import { layOut } from './layouts.js'
import { type Limits, length, maybe, type RandomProblem, randomValues } from './problems.js'
import type { Random } from './random.js'
import { count, tensor } from './tensors.js'

const floatTypes = ['float32', 'float16', 'bfloat16'] as const

/**
 * Options and inputs that are valid together, of every kind that version 2 and the pipelines in floats take: masks, addends, offsets,
 * layouts. Now and then a value is not finite, where it may or may not be seen.
 */
export function randomBlockProblem(random: Random, { maxLength, maxHeadDim }: Omit<Limits, 'pipeline'>): RandomProblem {
  const isBlock = random.chance(0.8)
  const kvHeads = random.integer(1, 3)
  const heads = kvHeads * random.integer(1, 3)
  const [headDim, otherDim] = [length(random, maxHeadDim), length(random, maxHeadDim)]
  const valueDim = random.chance(0.5) ? headDim : otherDim
  const common: AttentionOptions = {
    heads,
    kvHeads,
    headDim,
    ...(valueDim !== headDim && { valueDim }),
    ...maybe(random, { causal: random.chance(0.7) }),
    ...maybe(random, { window: random.integer(1, maxLength), keepFirst: random.integer(0, 4) }),
    ...maybe(random, { softmaxScale: (0.3 + 2 * random.next()) / Math.sqrt(headDim) }),
    ...maybe(random, { threads: random.integer(1, 4) }),
    ...(random.chance(0.3) && { alibiSlopes: Array.from({ length: heads }, () => random.normal() / 4) }),
  }
  const sinks = random.chance(0.3)
  const withSinks = {
    ...common,
    ...(sinks && { sinks: random.normals(heads).map((x) => (random.chance(0.1) ? Number.NEGATIVE_INFINITY : 2 * x)) }),
  }
  const shape = drawShape(random, maxLength, { ...common, kvHeads, valueDim })
  if (!isBlock) {
    const pipeline = random.pick(['fp32', 'fp16'] as const)
    const inputs = { ...drawFloats(random, shape), ...drawMasks(random, shape) }
    return { options: { pipeline, ...withSinks }, inputs: withOutput(random, shape, inputs) }
  }

  const isKeyInt8 = random.chance(0.25)
  const isValueInt8 = random.chance(0.25)
  const offsetOf = (dim: number) => (random.chance(0.5) ? random.normals(kvHeads * dim) : undefined)
  const offsets = !sinks && random.chance(0.3)
  const keyOffset = offsets && !isKeyInt8 ? offsetOf(headDim) : undefined
  const valueOffset = offsets && !isValueInt8 ? offsetOf(valueDim) : undefined
  const options: AttentionOptions = {
    ...withSinks,
    ...maybe(random, { preset: random.pick(blockPresets) }),
    ...maybe(random, { rotate: random.chance(0.5) }),
    ...maybe(random, { queryBits: random.pick([8, 15] as const) }),
    ...maybe(random, { planeBits: random.pick([8, 7, 14] as const) }),
    ...(isKeyInt8
      ? { keyBits: random.pick([8, 7] as const) }
      : maybe(random, { keyBits: random.pick([8, 7, 4] as const) })),
    ...(isValueInt8 ? { valueBits: 8 as const } : maybe(random, { valueBits: random.pick([8, 4] as const) })),
    ...(keyOffset ? { keyOffset } : maybe(random, { smoothKey: !sinks && !isKeyInt8 && random.chance(0.5) })),
    ...(valueOffset ? { valueOffset } : maybe(random, { centerValue: !sinks && !isValueInt8 && random.chance(0.5) })),
  }
  const floats = drawFloats(random, shape)
  const most = options.keyBits === 7 ? 63 : 128
  const inputs = {
    ...floats,
    ...(isKeyInt8 && { query: drawInt8(random, shape.query, 128), key: drawInt8(random, shape.key, most) }),
    ...(isValueInt8 && { value: drawInt8(random, shape.value, 128) }),
    ...drawMasks(random, shape),
    ...(random.chance(0.3) && { intermediates: true }),
    ...(random.chance(0.3) && { logSumExp: true }),
  }
  return { options, inputs: withOutput(random, shape, inputs) }
}

interface Shape {
  query: number[]
  key: number[]
  value: number[]
  output: number[]
  /** [batch, heads, queryLength, keyLength] */
  scores: number[]
}

type Heads = Pick<AttentionOptions, 'heads' | 'headDim'> & Required<Pick<AttentionOptions, 'kvHeads' | 'valueDim'>>

function drawShape(random: Random, maxLength: number, { heads, kvHeads, headDim, valueDim }: Heads): Shape {
  const batch = random.integer(1, 3)
  const queryLength = length(random, Math.min(maxLength, 14))
  const keyLength = random.chance(0.3) ? queryLength : length(random, maxLength)
  return {
    query: [batch, heads, queryLength, headDim],
    key: [batch, kvHeads, keyLength, headDim],
    value: [batch, kvHeads, keyLength, valueDim],
    output: [batch, heads, queryLength, valueDim],
    scores: [batch, heads, queryLength, keyLength],
  }
}

const maybeLaidOut = <T extends Tensor>(random: Random, given: T): T =>
  random.chance(0.4) ? layOut(random, given) : given

function drawFloats(random: Random, shape: Shape): Pick<AttentionInputs, 'query' | 'key' | 'value'> {
  const draw = (dims: number[]) => {
    const values = randomValues(random, dims)
    if (random.chance(0.04)) values[random.integer(0, values.length - 1)] = random.pick([Number.NaN, Infinity, -1e30])
    return maybeLaidOut(random, tensor(random.pick(floatTypes), dims, values)) as FloatTensor
  }
  return { query: draw(shape.query), key: draw(shape.key), value: draw(shape.value) }
}

function drawInt8(random: Random, dims: number[], most: number): Tensor {
  const integers = Int8Array.from({ length: count(dims) }, () => random.integer(-most, Math.min(most, 127)))
  const rows = random.chance(0.3) ? 1 : dims[0]! * dims[1]! * dims[2]!
  const scale = Float32Array.from({ length: rows }, () => (random.chance(0.05) ? 0 : 0.001 + 0.04 * random.next()))
  if (random.chance(0.04)) scale[random.integer(0, rows - 1)] = random.pick([Number.NaN, -1, 2 ** 35])
  return maybeLaidOut(random, tensor('int8', dims, integers, scale))
}

function drawMasks(random: Random, { scores }: Shape): Partial<AttentionInputs> {
  const [batch, , , keyLength] = scores as [number, number, number, number]
  const broadcast = () => scores.map((dim, axis) => (axis < 3 && random.chance(0.5) ? 1 : dim))
  const mask = (): BoolTensor => {
    const dims = broadcast()
    return { type: 'bool', dims, data: Uint8Array.from({ length: count(dims) }, () => random.integer(0, 3)) }
  }
  const bias = (): FloatTensor => {
    const dims = broadcast()
    const values = random.normals(count(dims), 2).map((x) => (random.chance(0.1) ? Number.NEGATIVE_INFINITY : x))
    if (random.chance(0.04)) values[random.integer(0, values.length - 1)] = random.pick([Number.NaN, Infinity, -3e38])
    return maybeLaidOut(random, tensor(random.pick(floatTypes), dims, values)) as FloatTensor
  }
  return {
    ...(random.chance(0.3) && { keyLengths: Array.from({ length: batch }, () => random.integer(0, keyLength)) }),
    ...(random.chance(0.3) && {
      queryStart: Array.from({ length: batch }, () => random.integer(-3, keyLength + 3)),
    }),
    ...(random.chance(0.3) && { mask: mask() }),
    ...(random.chance(0.3) && { bias: bias() }),
  }
}

function withOutput(random: Random, { output }: Shape, inputs: AttentionInputs): AttentionInputs {
  if (random.chance(0.4)) return inputs
  const empty = tensor(random.pick(floatTypes), output, new Float32Array(count(output)).fill(Number.NaN))
  return { ...inputs, output: maybeLaidOut(random, empty) as FloatTensor }
}
