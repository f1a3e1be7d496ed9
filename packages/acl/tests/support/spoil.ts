import { type AttentionOptions, blockPresets, defaultPreset, float16Bits, type Tensor } from '../../src/index.js'
import type { RandomProblem } from './problems.js'
import type { Random } from './random.js'
import { count } from './tensors.js'

/** A valid problem made wrong in one place. */
export interface Spoiled {
  what: string
  options: unknown
  inputs: unknown
}

type Bag = Record<string, unknown>

const nobodysName = 'Symbol.species'
/** Names that would spoil a message. */
const badNames = ['two\nlines', '\u2028', '', 'name '.repeat(1000)]
const notIntegers = [
  0,
  -1,
  -7,
  1.5,
  Number.NaN,
  Infinity,
  -Infinity,
  2 ** 33,
  2 ** 53,
  1e300,
  '4',
  null,
  {},
  [],
  true,
  4n,
]
/** Iterates over a single element, whatever it holds. */
class Liar extends Uint32Array {
  override *[Symbol.iterator](): ArrayIterator<number> {
    yield 1
  }
}
const notReals = [0, -1, Number.NaN, Infinity, -Infinity, 1e-320, 1e200, '0.1', null, {}, [1], false, 1n]
const notBooleans = [0, 1, 'true', null, {}, [], Number.NaN]
const notNames = ['', 'INT', 'toString', '__proto__', 0, 3, null, {}, ['int'], true, Number.NaN, 'int '.repeat(100)]
const notTensors = [null, 0, 'tensor', [], true, new Float32Array(4), () => 1, Symbol('tensor'), new Map()]
const notArrays = [
  null,
  0,
  'data',
  {},
  [1, 2, 3],
  new ArrayBuffer(8),
  new DataView(new ArrayBuffer(8)),
  new BigInt64Array(4),
]
const floatPipelineHasNot = {
  preset: 'paper',
  smoothKey: true,
  table: 'exp2',
  quantization: {},
  normalization: 'integer',
}

/** Lists by head, or by head and channel, that are wrong whatever the number of heads. */
const notLists = [null, 5, {}, 'list', [], new Array(2 ** 32 - 1), new Float64Array(4), new Float32Array(999_983), true]

/** Ways to spoil options; each is wrong whatever the rest is. */
const optionSpoilers: Record<string, (random: Random, options: Bag) => Bag> = {
  'unknown option': (random) => ({
    [random.pick([...badNames, 'head', 'Heads', 'dims', 'keyLengths', 'lut', nobodysName])]: 1,
  }),
  heads: (random) => ({ heads: random.pick([undefined, ...notIntegers]) }),
  kvHeads: (random) => ({ kvHeads: random.pick(notIntegers) }),
  'kvHeads no divisor': (_, { heads }) => ({ kvHeads: (heads as number) + 1 }),
  headDim: (random) => ({ headDim: random.pick([undefined, 1025, ...notIntegers]) }),
  pipeline: (random) => ({ pipeline: random.pick(notNames) }),
  causal: (random) => ({ causal: random.pick(notBooleans) }),
  softmaxScale: (random) => ({ softmaxScale: random.pick(notReals) }),
  threads: (random) => ({ threads: random.pick([257, ...notIntegers]) }),
  preset: (random) => ({ preset: random.pick(notNames) }),
  smoothKey: (random) => ({ smoothKey: random.pick(notBooleans) }),
  centerValue: (random) => ({ centerValue: random.pick(notBooleans) }),
  normalization: (random) => ({ normalization: random.pick(notNames) }),
  table: (random) => ({ table: random.pick(notNames) }),
  'clip of exp2': () => ({ table: 'exp2', clip: 5 }),
  'lutBits of exp2': () => ({ table: 'exp2', lutBits: 5 }),
  clip: (random) => ({ table: 'natural', clip: random.pick(notReals) }),
  lutBits: (random) => ({ table: 'natural', lutBits: random.pick([3, 7, ...notIntegers]) }),
  quantization: (random) => ({ quantization: random.pick([null, 'row', 1, [], true]) }),
  'quantization scope': (random) => {
    const name = random.pick(['query', 'key', 'value', 'output'])
    return { quantization: { [name]: random.pick(['rows', 'none', name === 'value' ? 'row' : 'channel', 0, null]) } }
  },
  valueDim: (random) => ({ valueDim: random.pick([1025, ...notIntegers]) }),
  window: (random) => ({ window: random.pick(notIntegers) }),
  keepFirst: (random) => ({ keepFirst: random.pick(notIntegers.filter((value) => value !== 0)) }),
  alibiSlopes: (random, { heads }) => ({
    alibiSlopes: random.pick([...notLists, Array(heads as number).fill(random.pick([Number.NaN, 2 ** 60, '1']))]),
  }),
  sinks: (random, { heads }) => ({
    sinks: random.pick([...notLists, Array(heads as number).fill(random.pick([Number.NaN, Infinity, 2 ** 100]))]),
  }),
  softcap: () => ({ softcap: 30 }),
  rotate: (random) => ({ rotate: random.pick(notBooleans) }),
  bits: (random) => ({
    [random.pick(['queryBits', 'keyBits', 'valueBits', 'planeBits'])]: random.pick([9, ...notIntegers]),
  }),
  offset: (random) => ({ [random.pick(['keyOffset', 'valueOffset'])]: random.pick(notLists) }),
  'offset and mean': (random, { kvHeads, heads, headDim, valueDim }) => {
    const rows = (kvHeads ?? heads) as number
    return random.chance(0.5)
      ? { keyOffset: Array(rows * (headDim as number)).fill(0), smoothKey: true }
      : { valueOffset: Array(rows * ((valueDim ?? headDim) as number)).fill(0), centerValue: true }
  },
  'mean and sinks': (random, { heads }) => ({
    sinks: Array(heads as number).fill(0),
    [random.pick(['smoothKey', 'centerValue'])]: true,
  }),
  engine: (random) => ({ engine: random.pick(notNames) }),
  isa: (random) => ({ isa: random.pick(['sse2', ...notNames]) }),
  'isa for the reference': () => ({ engine: 'reference', isa: 'scalar' }),
  'option of another pipeline': (random) => {
    const name = random.pick(Object.keys(floatPipelineHasNot) as (keyof typeof floatPipelineHasNot)[])
    return { pipeline: random.pick(['fp32', 'fp16']), [name]: floatPipelineHasNot[name] }
  },
}

/** Ways to spoil one tensor. */
const tensorSpoilers: Record<string, (random: Random, tensor: Tensor, options: AttentionOptions) => unknown> = {
  'no tensor': (random) => random.pick(notTensors),
  type: (random, tensor) => ({ ...tensor, type: random.pick(['float64', 'uint8', 'string', ...notNames, undefined]) }),
  'no array': (random, tensor) => ({ ...tensor, data: random.pick([undefined, ...notArrays]) }),
  'array of another class': (random, tensor) => {
    const length = (tensor.data as Float32Array).length
    return { ...tensor, data: random.pick([new Float64Array(length), new Int32Array(length), new Uint8Array(length)]) }
  },
  'array too long or too short': (random, tensor) => {
    const data = tensor.data as Float32Array
    const Class = data.constructor as Float32ArrayConstructor
    // With strides, what follows the last element is nobody's.
    const lengths = tensor.strides ? [0] : [0, data.length - 1, data.length + 1, 2 * data.length]
    return { ...tensor, data: new Class(random.pick(lengths)) }
  },
  'detached array': (_, tensor) => {
    const data = (tensor.data as Float32Array).slice()
    structuredClone(data.buffer, { transfer: [data.buffer] })
    return { ...tensor, data }
  },
  'rank of dims': (random, tensor) => {
    const { dims } = tensor
    return { ...tensor, dims: random.pick([undefined, null, 4, 'dims', [], dims.slice(1), [1, ...dims], count(dims)]) }
  },
  'value of a dim': (random, tensor) => ({
    ...tensor,
    dims: tensor.dims.with(random.integer(0, 3), random.pick(notIntegers) as number),
  }),
  'heads or headDim': (random, tensor) => {
    const axis = random.pick([1, 3])
    const dims = tensor.dims.with(axis, tensor.dims[axis]! + random.integer(1, 3))
    const Class = (tensor.data as Float32Array).constructor as Float32ArrayConstructor
    return { ...tensor, dims, data: new Class(count(dims)) }
  },
  strides: (random, { ...tensor }) => ({
    ...tensor,
    strides: random.pick([
      null,
      4,
      [],
      [1, 1, 1],
      [1, 1, 1, 2],
      [1, 1, 1, 0],
      [-1, 1, 1, 1],
      [1, 0.5, 1, 1],
      [1, 1, Number.NaN, 1],
      ['1', 1, 1, 1],
      new Float64Array(4),
    ]),
  }),
  'strides out of the array': (random, tensor) => {
    const axis = tensor.dims.findIndex((dim, at) => at < 3 && dim > 1)
    const strides = [0, 0, 0, 1]
    if (axis < 0) return { ...tensor, strides, data: new Float32Array(0) }
    return { ...tensor, strides: strides.with(axis, random.pick([(tensor.data as Float32Array).length, 2 ** 52])) }
  },
  scale: (random, tensor, options) => {
    if (tensor.type !== 'int8') return { ...tensor, scale: random.pick([Float32Array.of(1), null, 1]) }
    const isBlock = isOfBlocks(options)
    const scale = tensor.scale!.slice()
    if (!isBlock)
      scale[random.integer(0, scale.length - 1)] = random.pick([0, -1, Number.NaN, Infinity, -Infinity, 3e38])
    // One for all is not wrong in version 2, nor a bad one of a row that nobody sees.
    const longer = new Float32Array(scale.length + 1 + count(tensor.dims)).fill(1)
    const wrong = isBlock ? [] : [scale]
    return {
      ...tensor,
      scale: random.pick([undefined, null, 1, [1], new Float64Array(scale.length), ...wrong, longer]),
    }
  },
}

/** Ways to spoil inputs as a whole. */
const inputSpoilers: Record<string, (random: Random, problem: RandomProblem) => unknown> = {
  'no inputs': (random) => random.pick([undefined, null, 0, 'inputs', [], true]),
  'unknown input': (random, { inputs }) => ({
    ...inputs,
    [random.pick([...badNames, 'keylengths', 'masks', 'q', nobodysName])]: 1,
  }),
  'missing tensor': (random, { inputs }) => ({ ...inputs, [random.pick(['query', 'key', 'value'])]: undefined }),
  keyLengths: (random, { inputs }) => {
    const [batch] = inputs.query.dims
    const lengths = Array<unknown>(batch!).fill(1)
    lengths[random.integer(0, batch! - 1)] = random.pick([
      -1,
      0.5,
      inputs.key.dims[2]! + 1,
      Number.NaN,
      '1',
      null,
      2 ** 32,
    ])
    return {
      ...inputs,
      keyLengths: random.pick([
        null,
        5,
        {},
        new Int32Array(batch!),
        new Liar(batch! + 1),
        Array(batch! + 1).fill(0),
        new Array(2 ** 32 - 1),
        lengths,
      ]),
    }
  },
  queryStart: (random, { inputs }) => {
    const [batch] = inputs.query.dims
    const bad = Array<unknown>(batch!).fill(random.pick([0.5, Number.NaN, '1', null, 2 ** 31, -(2 ** 31) - 1]))
    return {
      ...inputs,
      queryStart: random.pick([null, 5, {}, new Uint32Array(batch!), Array(batch! + 1).fill(0), bad]),
    }
  },
  mask: (random, { inputs }) => {
    const keyLength = inputs.key.dims[2]!
    const dims = [1, 1, 1, keyLength]
    const data = new Uint8Array(keyLength)
    return {
      ...inputs,
      mask: random.pick([
        ...notTensors,
        { type: 'float32', dims, data: new Float32Array(keyLength) },
        { type: 'bool', dims, data: new Int8Array(keyLength) },
        { type: 'bool', dims: [1, 1, 1, keyLength + 1], data: new Uint8Array(keyLength + 1) },
        { type: 'bool', dims: [1, 1009, 1, keyLength], data: new Uint8Array(1009 * keyLength) },
        { type: 'bool', dims, data, scale: Float32Array.of(1) },
        { type: 'bool', dims, data, strides: [0, 0, 0, 2] },
      ]),
    }
  },
  bias: (random, { inputs }) => {
    const keyLength = inputs.key.dims[2]!
    const dims = [1, 1, 1, keyLength]
    const data = new Float32Array(keyLength)
    const spoiled = data.slice().fill(random.pick([Number.NaN, Infinity, 2 ** 100]))
    return {
      ...inputs,
      keyLengths: undefined,
      bias: random.pick([
        ...notTensors,
        { type: 'bool', dims, data: new Uint8Array(keyLength) },
        { type: 'float32', dims: [1, 1, 997, keyLength], data: new Float32Array(997 * keyLength) },
        { type: 'float32', dims, data: new Float32Array(keyLength + 1) },
        { type: 'float32', dims, data: spoiled },
      ]),
    }
  },
  logSumExp: (random, { inputs }) => ({ ...inputs, logSumExp: random.pick(notBooleans) }),
  intermediates: (random, { inputs }) => ({ ...inputs, intermediates: random.pick(notBooleans) }),
  'intermediates of floats': (random, { inputs, options }) =>
    options.pipeline === 'fp32' || options.pipeline === 'fp16'
      ? { ...inputs, intermediates: true }
      : { ...inputs, intermediates: random.pick(notBooleans) },
  'getter that detaches': (random, { inputs }) => {
    const data = Float32Array.from({ length: count(inputs.query.dims) }, () => random.normal())
    const value = { ...inputs.value }
    const { dims } = value
    Object.defineProperty(value, 'dims', {
      get() {
        if (data.length) structuredClone(data.buffer, { transfer: [data.buffer] })
        return dims
      },
    })
    return { ...inputs, query: { type: 'float32', dims: inputs.query.dims, data }, value }
  },
  'getter that throws': (random, { inputs }) => {
    const name = random.pick([
      'query',
      'key',
      'value',
      'keyLengths',
      'queryStart',
      'mask',
      'bias',
      'output',
      'intermediates',
      'logSumExp',
    ])
    return Object.defineProperty({ ...inputs }, name, {
      get() {
        throw random.pick([new Error('two\nlines'), null, 'x'.repeat(9999)])
      },
    })
  },
  'output type': (_, { inputs }) => {
    const { dims } = inputs.query
    return { ...inputs, output: { type: 'int8', dims, data: new Int8Array(count(dims)), scale: Float32Array.of(1) } }
  },
  'output shape': (random, { inputs }) => {
    const dims = inputs.query.dims.with(random.integer(0, 3), 1 + 7 * 11 * 13)
    return { ...inputs, output: { type: 'float32', dims, data: new Float32Array(count(dims)) } }
  },
  'output over an input': (random, { inputs }) => {
    const { dims } = inputs.query
    const length = count(dims)
    const buffer = new ArrayBuffer(8 * length + 64)
    const query = { type: 'float32', dims, data: new Float32Array(buffer, 0, length) }
    const shift = 4 * random.integer(0, length - 1)
    return { ...inputs, query, output: { type: 'float32', dims, data: new Float32Array(buffer, shift, length) } }
  },
  'not finite': (random, { inputs, options }) => {
    // Version 2 forgives keys that nobody sees.
    const name = isOfBlocks(options) ? 'query' : random.pick(['query', 'key', 'value'] as const)
    const { dims } = inputs[name]
    const lengths = inputs.keyLengths
    const item = lengths && name !== 'query' ? Array.from(lengths).findIndex((length) => length > 0) : 0
    if (item < 0)
      return { ...inputs, query: holed(random, inputs.query, 0, count(inputs.query.dims), options.pipeline) }
    const present = lengths && name !== 'query' ? lengths[item]! : dims[2]!
    const start = item * dims[1]! * dims[2]! * dims[3]!
    return { ...inputs, [name]: holed(random, inputs[name], start, present * dims[3]!, options.pipeline) }
  },
}

/** Whether the options ask for version 2. */
const isOfBlocks = ({ pipeline = 'int', preset = defaultPreset }: AttentionOptions): boolean =>
  pipeline === 'int' && blockPresets.includes(preset as never)

/** The tensor as floats with one value among `length` from `start` that no pipeline takes. */
function holed(random: Random, { dims }: Tensor, start: number, length: number, pipeline: string | undefined): Tensor {
  const place = start + random.integer(0, length - 1)
  const tooLarge = pipeline === 'fp16' ? [65520, -1e9] : []
  const bad = random.pick([Number.NaN, Infinity, -Infinity, ...tooLarge])
  if (random.chance(0.5)) {
    const data = new Float32Array(count(dims))
    data[place] = bad
    return { type: 'float32', dims, data }
  }
  const data = new Uint16Array(count(dims))
  data[place] = float16Bits(bad)
  return { type: 'float16', dims, data }
}

/** Spoils a valid problem in one way. */
export function spoil(random: Random, problem: RandomProblem): Spoiled {
  const { options, inputs } = problem
  switch (random.integer(0, 2)) {
    case 0: {
      const what = random.pick(Object.keys(optionSpoilers))
      return { what, options: { ...options, ...optionSpoilers[what]!(random, options as unknown as Bag) }, inputs }
    }
    case 1: {
      const what = random.pick(Object.keys(tensorSpoilers))
      const name = random.pick(['query', 'key', 'value'] as const)
      const spoiled = { ...inputs, [name]: tensorSpoilers[what]!(random, inputs[name], options) }
      return { what: `${name}: ${what}`, options, inputs: spoiled }
    }
    default: {
      const what = random.pick(Object.keys(inputSpoilers))
      return { what, options, inputs: inputSpoilers[what]!(random, problem) }
    }
  }
}

/** Puts anything anywhere: the result may still be valid. */
export function scramble(random: Random, { options, inputs }: RandomProblem): Spoiled {
  const anything = random.pick([...notIntegers, ...notTensors, ...notNames, ...notArrays, 1, 2, 3, 64, 1000, undefined])
  const scrambled = { options: { ...options } as unknown as Bag, inputs: { ...inputs } as unknown as Bag }
  if (random.chance(0.4)) {
    const names = [
      'pipeline',
      'heads',
      'kvHeads',
      'headDim',
      'causal',
      'softmaxScale',
      'preset',
      'table',
      'clip',
      'threads',
      'valueDim',
      'window',
      'keepFirst',
      'alibiSlopes',
      'sinks',
      'rotate',
      'queryBits',
      'keyBits',
      'valueBits',
      'planeBits',
      'keyOffset',
      'valueOffset',
    ]
    const name = random.pick(names)
    scrambled.options[name] = anything
    return { what: `options.${name}`, ...scrambled }
  }
  const name = random.pick([
    ...['query', 'key', 'value', 'output', 'keyLengths', 'queryStart', 'mask', 'bias', 'intermediates', 'logSumExp'],
  ])
  const tensor = scrambled.inputs[name]
  const property = random.pick(['type', 'dims', 'data', 'scale', 'strides'])
  if (typeof tensor === 'object' && tensor !== null && random.chance(0.7)) {
    scrambled.inputs[name] = { ...tensor, [property]: anything }
    return { what: `inputs.${name}.${property}`, ...scrambled }
  }
  scrambled.inputs[name] = anything
  return { what: `inputs.${name}`, ...scrambled }
}
