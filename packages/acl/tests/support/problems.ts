import {
  type AttentionInputs,
  type AttentionOptions,
  type FloatTensor,
  type Pipeline,
  pipelines,
  type Quantization,
  type Tensor,
  type TensorType,
} from '../../src/index.js'
import type { Random } from './random.js'
import { count, tensor } from './tensors.js'

export interface RandomProblem {
  options: AttentionOptions
  inputs: AttentionInputs
}

export interface Limits {
  pipeline?: Pipeline
  maxLength: number
  maxHeadDim: number
}

/** Options and inputs that are valid together, of every kind the API takes. */
export function randomProblem(random: Random, limits: Limits): RandomProblem {
  const pipeline = limits.pipeline ?? random.pick(pipelines)
  const kvHeads = random.integer(1, 3)
  const heads = kvHeads * random.integer(1, 3)
  const headDim = length(random, limits.maxHeadDim)
  const options: AttentionOptions = {
    pipeline,
    heads,
    headDim,
    ...(kvHeads !== heads || random.chance(0.5) ? { kvHeads } : {}),
    ...maybe(random, { causal: random.chance(0.7) }),
    ...maybe(random, { softmaxScale: (0.3 + 2 * random.next()) / Math.sqrt(headDim) }),
    ...maybe(random, { threads: random.integer(1, 4) }),
    ...(pipeline === 'int8' || pipeline === 'int' ? quantizedOptions(random, pipeline) : {}),
    ...(pipeline === 'int' ? integerOptions(random) : {}),
  }
  return { options, inputs: randomInputs(random, options, limits.maxLength) }
}

function quantizedOptions(random: Random, pipeline: Pipeline): Partial<AttentionOptions> {
  const preset = random.pick(['precise-1', 'paper'] as const)
  // Its default may be of version 2.
  const isInt = pipeline === 'int'
  return {
    ...(random.chance(0.5) || isInt ? { preset } : {}),
    ...maybe(random, {
      quantization: {
        ...maybe(random, { query: random.pick(['tensor', 'head', 'row'] as const) }),
        ...maybe(random, { key: random.pick(['tensor', 'head'] as const) }),
        ...maybe(random, { value: random.pick(['tensor', 'head', 'channel'] as const) }),
      },
    }),
    ...maybe(random, { smoothKey: random.chance(0.5) }),
    ...maybe(random, { centerValue: random.chance(0.5) }),
  }
}

function integerOptions(random: Random): Partial<AttentionOptions> {
  const natural = { table: 'natural', clip: 2 + 10 * random.next(), lutBits: random.pick([4, 5, 6] as const) } as const
  return {
    ...maybe(random, { normalization: random.pick(['integer', 'deferred'] as const) }),
    ...maybe(random, random.chance(0.5) ? natural : { table: 'exp2' }),
  }
}

function randomInputs(random: Random, options: AttentionOptions, maxLength: number): AttentionInputs {
  const { pipeline, heads, headDim, kvHeads = heads } = options
  const batch = random.integer(1, 3)
  const queryLength = length(random, maxLength)
  const keyLength = random.chance(0.3) ? queryLength : length(random, maxLength)
  const query = [batch, heads, queryLength, headDim]
  const key = [batch, kvHeads, keyLength, headDim]

  const quantized = pipeline === 'int8' || pipeline === 'int'
  const scopes = scopesOf(options)
  const draw = (dims: number[], scope: string, canBeInt8: boolean): Tensor => {
    const types: TensorType[] = quantized && canBeInt8 ? ['float32', 'float16', 'int8'] : ['float32', 'float16']
    return randomTensor(random, random.chance(0.5) ? 'float32' : random.pick(types), dims, scope)
  }
  return {
    query: draw(query, scopes.query, true),
    key: draw(key, scopes.key, options.smoothKey !== true),
    value: draw(key, scopes.value, options.centerValue !== true),
    ...(random.chance(0.3) && { keyLengths: Array.from({ length: batch }, () => random.integer(0, keyLength)) }),
    ...(random.chance(0.3) && { output: emptyOutput(random.pick(['float32', 'float16'] as const), query) }),
  }
}

/** The scopes that options come to. */
export function scopesOf({ preset = 'precise-1', quantization = {} }: AttentionOptions): Quantization {
  const defaults: Quantization =
    preset === 'precise-1'
      ? { query: 'row', key: 'head', value: 'channel' }
      : { query: 'tensor', key: 'tensor', value: 'tensor' }
  return { ...defaults, ...quantization }
}

export function scaleCountOf(scope: string, [batch, heads, rows, headDim]: readonly number[]): number {
  const perHead = scope === 'row' ? rows! : scope === 'channel' ? headDim! : 1
  return scope === 'tensor' ? 1 : batch! * heads! * perHead
}

function randomTensor(random: Random, type: TensorType, dims: number[], scope: string): Tensor {
  if (type === 'int8') {
    const integers = Int8Array.from({ length: count(dims) }, () => random.integer(-128, 127))
    const scale = Float32Array.from({ length: scaleCountOf(scope, dims) }, () => 0.01 + 0.02 * random.next())
    return tensor(type, dims, integers, scale)
  }
  return tensor(type, dims, randomValues(random, dims))
}

/** Values as attention meets them: normal, with offsets per channel, with a few large rows, all alike, mostly zero. */
export function randomValues(random: Random, dims: number[]): Float32Array {
  const headDim = dims[3]!
  const values = random.normals(count(dims))
  const offsets = random.normals(headDim, 3)
  switch (random.integer(0, 7)) {
    case 0:
      return values.map((x, i) => x + offsets[i % headDim]!)
    case 1:
      return values.map((x, i) => (Math.floor(i / headDim) % 7 === 3 ? 6 * x : x))
    case 2:
      return values.fill(random.pick([0, 1, -2.5]))
    case 3:
      return values.map((x) => (random.chance(0.1) ? x : 0))
    case 4:
      return values.map((x) => x * 0.01)
    default:
      return values
  }
}

function emptyOutput(type: 'float32' | 'float16', dims: number[]): FloatTensor {
  return tensor(type, dims, new Float32Array(count(dims)).fill(Number.NaN))
}

/** Small as a rule, odd lengths often, now and then up to the limit. */
export function length(random: Random, max: number): number {
  const most = Math.min(max, random.pick([4, 17, 40, max]))
  return random.integer(1, most)
}

export function maybe<T extends object>(random: Random, options: T): T | Record<string, never> {
  return random.chance(0.5) ? options : {}
}
