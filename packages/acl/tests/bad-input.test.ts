import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  engines,
  float64Attention,
  type IndexSoftmaxOptions,
  indexParameters,
  indexSoftmax,
  type QuantizeOptions,
  quantize,
  type Tensor,
  weightTable,
} from '../src/index.js'
import { describeEachEngine } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { tensor } from './support/tensors.js'

type Case = [what: string, change: object, code: string, argument: string]

const stepEngineNames = ['native', 'reference'] as const
const options = { heads: 4, kvHeads: 2, headDim: 8 }

describe('options of Attention', () => {
  const { NaN: nan, POSITIVE_INFINITY: infinity } = Number
  const cases: Case[] = [
    ['an unknown option', { head: 4 }, 'UNKNOWN_OPTION', 'head'],
    ['an option with a capital too many', { kvheads: 4 }, 'UNKNOWN_OPTION', 'kvheads'],
    ['no heads', { heads: undefined }, 'INVALID_ARGUMENT', 'heads'],
    ['null heads', { heads: null }, 'INVALID_ARGUMENT', 'heads'],
    ['heads as text', { heads: '4' }, 'INVALID_ARGUMENT', 'heads'],
    ['heads as a bigint', { heads: 4n }, 'INVALID_ARGUMENT', 'heads'],
    ['zero heads', { heads: 0 }, 'INVALID_ARGUMENT', 'heads'],
    ['negative heads', { heads: -4 }, 'INVALID_ARGUMENT', 'heads'],
    ['a fraction of a head', { heads: 4.5 }, 'INVALID_ARGUMENT', 'heads'],
    ['NaN heads', { heads: nan }, 'INVALID_ARGUMENT', 'heads'],
    ['infinitely many heads', { heads: infinity }, 'INVALID_ARGUMENT', 'heads'],
    ['too many heads', { heads: 2 ** 40 }, 'INVALID_ARGUMENT', 'heads'],
    ['zero kvHeads', { kvHeads: 0 }, 'INVALID_ARGUMENT', 'kvHeads'],
    ['heads no multiple of kvHeads', { kvHeads: 3 }, 'SHAPE_MISMATCH', 'kvHeads'],
    ['more kvHeads than heads', { kvHeads: 8 }, 'SHAPE_MISMATCH', 'kvHeads'],
    ['zero headDim', { headDim: 0 }, 'INVALID_ARGUMENT', 'headDim'],
    ['headDim over 1024', { headDim: 1025 }, 'INVALID_ARGUMENT', 'headDim'],
    ['NaN headDim', { headDim: nan }, 'INVALID_ARGUMENT', 'headDim'],
    ['an unknown pipeline', { pipeline: 'bf16' }, 'INVALID_ARGUMENT', 'pipeline'],
    ['a pipeline by number', { pipeline: 3 }, 'INVALID_ARGUMENT', 'pipeline'],
    ['causal as a number', { causal: 1 }, 'INVALID_ARGUMENT', 'causal'],
    ['softmaxScale zero', { softmaxScale: 0 }, 'INVALID_ARGUMENT', 'softmaxScale'],
    ['softmaxScale negative', { softmaxScale: -1 }, 'INVALID_ARGUMENT', 'softmaxScale'],
    ['softmaxScale NaN', { softmaxScale: nan }, 'INVALID_ARGUMENT', 'softmaxScale'],
    ['softmaxScale infinite', { softmaxScale: infinity }, 'INVALID_ARGUMENT', 'softmaxScale'],
    ['softmaxScale denormal', { softmaxScale: 5e-324 }, 'INVALID_ARGUMENT', 'softmaxScale'],
    ['softcap', { softcap: 30 }, 'UNKNOWN_OPTION', 'softcap'],
    ['zero valueDim', { valueDim: 0 }, 'INVALID_ARGUMENT', 'valueDim'],
    ['a window of zero', { window: 0 }, 'INVALID_ARGUMENT', 'window'],
    ['half a window', { window: 0.5 }, 'INVALID_ARGUMENT', 'window'],
    ['a negative keepFirst', { keepFirst: -1 }, 'INVALID_ARGUMENT', 'keepFirst'],
    ['a slope too few', { alibiSlopes: [1, 1, 1] }, 'SHAPE_MISMATCH', 'alibiSlopes'],
    ['a NaN slope', { alibiSlopes: [1, nan, 1, 1] }, 'INVALID_ARGUMENT', 'alibiSlopes[1]'],
    ['slopes of another class', { alibiSlopes: new Float64Array(4) }, 'INVALID_ARGUMENT', 'alibiSlopes'],
    ['one sink as a number', { sinks: 1 }, 'INVALID_ARGUMENT', 'sinks'],
    ['an infinite sink', { sinks: [0, 0, infinity, 0] }, 'INVALID_ARGUMENT', 'sinks[2]'],
    ['rotation with fp32', { pipeline: 'fp32', rotate: false }, 'UNKNOWN_OPTION', 'rotate'],
    ['bits with int8', { pipeline: 'int8', queryBits: 8 }, 'UNKNOWN_OPTION', 'queryBits'],
    ['no threads', { threads: 0 }, 'INVALID_ARGUMENT', 'threads'],
    ['too many threads', { threads: 100000 }, 'INVALID_ARGUMENT', 'threads'],
    ['an unknown preset', { preset: 'exact' }, 'INVALID_ARGUMENT', 'preset'],
    ['a preset from the prototype', { preset: 'constructor' }, 'INVALID_ARGUMENT', 'preset'],
    ['smoothKey as text', { smoothKey: 'yes' }, 'INVALID_ARGUMENT', 'smoothKey'],
    ['centerValue null', { centerValue: null }, 'INVALID_ARGUMENT', 'centerValue'],
    ['table with fp32', { pipeline: 'fp32', table: 'exp2' }, 'UNKNOWN_OPTION', 'table'],
    ['preset with fp16', { pipeline: 'fp16', preset: 'paper' }, 'UNKNOWN_OPTION', 'preset'],
    ['smoothKey with fp32', { pipeline: 'fp32', smoothKey: false }, 'UNKNOWN_OPTION', 'smoothKey'],
    ['normalization with int8', { pipeline: 'int8', normalization: 'integer' }, 'UNKNOWN_OPTION', 'normalization'],
    ['an unknown engine', { engine: 'gpu' }, 'INVALID_ARGUMENT', 'engine'],
    ['an unknown instruction set', { isa: 'sse2' }, 'INVALID_ARGUMENT', 'isa'],
    ['an instruction set for the reference', { engine: 'reference', isa: 'scalar' }, 'UNKNOWN_OPTION', 'isa'],
  ]
  const indexCases: Case[] = [
    ['quantization as text', { quantization: 'row' }, 'INVALID_ARGUMENT', 'quantization'],
    ['quantization of an unknown tensor', { quantization: { output: 'row' } }, 'UNKNOWN_OPTION', 'quantization.output'],
    ['keys scaled by row', { quantization: { key: 'row' } }, 'INVALID_ARGUMENT', 'quantization.key'],
    ['queries scaled by channel', { quantization: { query: 'channel' } }, 'INVALID_ARGUMENT', 'quantization.query'],
    ['values scaled by row', { quantization: { value: 'row' } }, 'INVALID_ARGUMENT', 'quantization.value'],
    ['an unknown table', { table: 'exp' }, 'INVALID_ARGUMENT', 'table'],
    ['a clip with exp2', { clip: 6.6 }, 'UNKNOWN_OPTION', 'clip'],
    ['lutBits with exp2', { table: 'exp2', lutBits: 5 }, 'UNKNOWN_OPTION', 'lutBits'],
    ['a negative clip', { table: 'natural', clip: -1 }, 'INVALID_ARGUMENT', 'clip'],
    ['a clip of zero', { table: 'natural', clip: 0 }, 'INVALID_ARGUMENT', 'clip'],
    ['too many table bits', { table: 'natural', lutBits: 7 }, 'INVALID_ARGUMENT', 'lutBits'],
    ['an unknown normalization', { normalization: 'none' }, 'INVALID_ARGUMENT', 'normalization'],
    ['rotation', { rotate: true }, 'UNKNOWN_OPTION', 'rotate'],
    ['bits of keys', { keyBits: 7 }, 'UNKNOWN_OPTION', 'keyBits'],
    ['an offset', { valueOffset: new Float32Array(16) }, 'UNKNOWN_OPTION', 'valueOffset'],
    ['slopes', { alibiSlopes: [1, 1, 1, 1] }, 'UNKNOWN_OPTION', 'alibiSlopes'],
    ['sinks', { sinks: [1, 1, 1, 1] }, 'UNKNOWN_OPTION', 'sinks'],
    [
      'a mean of keys beside sinks',
      { pipeline: 'int8', sinks: [0, 0, 0, 0], smoothKey: true },
      'INVALID_ARGUMENT',
      'smoothKey',
    ],
  ]
  const blockCases: Case[] = [
    ['a scope', { quantization: {} }, 'UNKNOWN_OPTION', 'quantization'],
    ['a table', { table: 'exp2' }, 'UNKNOWN_OPTION', 'table'],
    ['a clip', { clip: 6.6 }, 'UNKNOWN_OPTION', 'clip'],
    ['table bits', { lutBits: 5 }, 'UNKNOWN_OPTION', 'lutBits'],
    ['a normalization', { normalization: 'deferred' }, 'UNKNOWN_OPTION', 'normalization'],
    ['pipeline int8', { pipeline: 'int8' }, 'INVALID_ARGUMENT', 'preset'],
    ['rotation as a number', { rotate: 1 }, 'INVALID_ARGUMENT', 'rotate'],
    ['queries of 16 bits', { queryBits: 16 }, 'INVALID_ARGUMENT', 'queryBits'],
    ['keys of 15 bits', { keyBits: 15 }, 'INVALID_ARGUMENT', 'keyBits'],
    ['values of 7 bits', { valueBits: 7 }, 'INVALID_ARGUMENT', 'valueBits'],
    ['a plane of NaN bits', { planeBits: nan }, 'INVALID_ARGUMENT', 'planeBits'],
    ['a softmaxScale below 2^-20', { softmaxScale: 2 ** -21 }, 'INVALID_ARGUMENT', 'softmaxScale'],
    ['a softmaxScale beyond 2^20', { softmaxScale: 2 ** 21 }, 'INVALID_ARGUMENT', 'softmaxScale'],
    ['smoothKey as text', { smoothKey: 'yes' }, 'INVALID_ARGUMENT', 'smoothKey'],
    ['an offset by head alone', { keyOffset: [1, 2] }, 'SHAPE_MISMATCH', 'keyOffset'],
    ['an offset of another class', { keyOffset: new Float64Array(16) }, 'INVALID_ARGUMENT', 'keyOffset'],
    ['an offset of NaN', { valueOffset: new Float32Array(16).fill(nan) }, 'INVALID_ARGUMENT', 'valueOffset[0]'],
    ['an offset beyond float32', { valueOffset: Array(16).fill(1e39) }, 'INVALID_ARGUMENT', 'valueOffset[0]'],
  ]
  test.each([
    ...cases.map((given) => [options, ...given] as const),
    ...indexCases.map((given) => [{ ...options, preset: 'precise-1' }, ...given] as const),
    ...blockCases.map((given) => [{ ...options, preset: 'precise', engine: 'reference' }, ...given] as const),
  ])('%o: %s', async (base, _, change, code, argument) => {
    const bad = { ...base, ...change } as AttentionOptions
    expectTyped(await errorOf(() => new Attention(bad)), code, argument)
  })

  test.each([
    ['pipeline int8', { pipeline: 'int8' as const }],
    ['engine acl', { engine: 'acl' as const }],
  ])('%s names the presets that it has', async (_, choice) => {
    for (const preset of ['precise', 'fast', 'compact', 'finest'] as const) {
      const error = expectTyped(
        await errorOf(() => new Attention({ ...options, ...choice, preset })),
        'INVALID_ARGUMENT',
        'preset',
      )
      for (const name of ['paper', 'precise-1']) expect(error.expected).toContain(`'${name}'`)
    }
  })

  test.each([
    ['a window', { preset: 'paper' as const, window: 3 }],
    ['sinks', { pipeline: 'int8' as const, sinks: [0, 0, 0, 0] }],
    ['slopes', { pipeline: 'int8' as const, alibiSlopes: [0, 0, 0, 0] }],
  ])('%s, which the native engine does not have with that arithmetic', async (_, change) => {
    expectTyped(
      await errorOf(
        () => new Attention({ ...options, preset: undefined, engine: 'native', ...change } as AttentionOptions),
      ),
      'UNAVAILABLE',
    )
  })

  test.each([undefined, null, 5, 'int', [], () => {}])('%s instead of options', async (bad) => {
    expectTyped(await errorOf(() => new Attention(bad as unknown as AttentionOptions)), 'INVALID_ARGUMENT', 'options')
  })

  const missing = engines()[0]!.instructionSets.filter((set) => !set.available)
  test.each(missing)('instruction set $name, which cannot run here: $reason', async ({ name, reason }) => {
    const error = expectTyped(await errorOf(() => new Attention({ ...options, isa: name })), 'UNAVAILABLE', 'isa')
    expect(error.received).toContain(reason)
  })
})

describe('environment variables', () => {
  afterEach(() => vi.unstubAllEnvs())

  test('INTATTN_ENGINE chooses, the option overrules it', () => {
    vi.stubEnv('INTATTN_ENGINE', 'reference')
    expect(new Attention(options).engine).toBe('reference')
    expect(new Attention({ ...options, engine: 'native' }).engine).toBe('native')
  })

  test('INTATTN_ISA chooses, the option overrules it', () => {
    vi.stubEnv('INTATTN_ISA', 'scalar')
    expect(new Attention(options).isa).toBe('scalar')
    vi.stubEnv('INTATTN_ISA', 'nonsense')
    expect(new Attention({ ...options, isa: 'scalar' }).isa).toBe('scalar')
  })

  test.each(['INTATTN_ENGINE', 'INTATTN_ISA'])('a wrong %s is named', async (variable) => {
    vi.stubEnv(variable, 'nonsense')
    const error = expectTyped(await errorOf(() => new Attention(options)), 'INVALID_ARGUMENT', variable)
    expect(error.received).toBe("'nonsense'")
  })

  test('empty variables count as unset', () => {
    vi.stubEnv('INTATTN_ENGINE', '')
    vi.stubEnv('INTATTN_ISA', '')
    expect(new Attention(options).engine).toBe('native')
  })
})

describeEachEngine('inputs of Attention', (engine) => {
  const queryDims = [2, 4, 3, 8]
  const keyDims = [2, 2, 5, 8]
  const query = tensor('float32', queryDims, new Float32Array(192).fill(0.5))
  const key = tensor('float32', keyDims, new Float32Array(160).fill(0.25))
  const int8 = (dims: number[], scale?: ArrayLike<number>): Tensor =>
    tensor('int8', dims, new Int8Array(dims.reduce((a, b) => a * b)), scale && Float32Array.from(scale))
  const mask = (dims: number[], data: ArrayBufferView = new Uint8Array(dims.reduce((a, b) => a * b))) => ({
    type: 'bool',
    dims,
    data,
  })
  const with_ = (base: Tensor, change: object): Tensor => ({ ...base, ...change })
  const resized = (base: Tensor, length: number) => with_(base, { data: new Float32Array(length) })
  const detached = () => {
    const data = new Float32Array(192)
    structuredClone(data.buffer, { transfer: [data.buffer] })
    return data
  }
  const shared = new Float32Array(192 * 2)
  const inShared = (offset: number) => with_(query, { data: shared.subarray(offset, offset + 192) })
  const holed = (base: Tensor, index: number, value: number) => {
    const data = Float32Array.from(base.data as Float32Array)
    data[index] = value
    return with_(base, { data })
  }
  const { NaN: nan, POSITIVE_INFINITY: infinity } = Number

  const cases: Case[] = [
    ['an unknown input', { keylengths: [5, 5] }, 'UNKNOWN_OPTION', 'keylengths'],
    ['no query', { query: undefined }, 'INVALID_ARGUMENT', 'query'],
    ['a bare array as key', { key: new Float32Array(160) }, 'INVALID_ARGUMENT', 'key.type'],
    ['null as value', { value: null }, 'INVALID_ARGUMENT', 'value'],
    ['an unknown type', { query: with_(query, { type: 'float64' }) }, 'INVALID_ARGUMENT', 'query.type'],
    [
      'data of another class',
      { query: with_(query, { data: new Float64Array(192) }) },
      'INVALID_ARGUMENT',
      'query.data',
    ],
    ['data that is no array', { query: with_(query, { data: 'numbers' }) }, 'INVALID_ARGUMENT', 'query.data'],
    ['data as a plain array', { query: with_(query, { data: Array(192).fill(0) }) }, 'INVALID_ARGUMENT', 'query.data'],
    [
      'data as an ArrayBuffer',
      { query: with_(query, { data: new ArrayBuffer(768) }) },
      'INVALID_ARGUMENT',
      'query.data',
    ],
    ['float16 in a Float32Array', { query: with_(query, { type: 'float16' }) }, 'INVALID_ARGUMENT', 'query.data'],
    ['no dims', { query: with_(query, { dims: undefined }) }, 'SHAPE_MISMATCH', 'query.dims'],
    ['three dims', { query: with_(query, { dims: [8, 3, 8] }) }, 'SHAPE_MISMATCH', 'query.dims'],
    ['a zero dim', { query: with_(query, { dims: [2, 4, 0, 8] }) }, 'INVALID_ARGUMENT', 'query.dims[2]'],
    ['a negative dim', { query: with_(query, { dims: [-2, 4, 3, 8] }) }, 'INVALID_ARGUMENT', 'query.dims[0]'],
    ['a NaN dim', { query: with_(query, { dims: [nan, 4, 3, 8] }) }, 'INVALID_ARGUMENT', 'query.dims[0]'],
    ['a huge dim', { query: with_(query, { dims: [2 ** 53, 4, 3, 8] }) }, 'INVALID_ARGUMENT', 'query.dims[0]'],
    [
      'dims whose product wraps at 64 bits',
      { query: with_(query, { dims: [2 ** 31, 2 ** 31, 4, 8] }) },
      'SHAPE_MISMATCH',
      'query.dims',
    ],
    ['too little data', { query: resized(query, 191) }, 'SHAPE_MISMATCH', 'query.data'],
    ['too much data', { value: resized(key, 161) }, 'SHAPE_MISMATCH', 'value.data'],
    ['a detached buffer', { query: with_(query, { data: detached() }) }, 'SHAPE_MISMATCH', 'query.data'],
    [
      'other heads than the options',
      { query: tensor('float32', [4, 2, 3, 8], new Float32Array(192)) },
      'SHAPE_MISMATCH',
      'query.dims[1]',
    ],
    [
      'another headDim',
      { query: tensor('float32', [2, 4, 6, 4], new Float32Array(192)) },
      'SHAPE_MISMATCH',
      'query.dims[3]',
    ],
    [
      'another batch',
      { key: tensor('float32', [1, 2, 10, 8], new Float32Array(160)) },
      'SHAPE_MISMATCH',
      'key.dims[0]',
    ],
    [
      'keys with query heads',
      { key: tensor('float32', [2, 4, 5, 8], new Float32Array(320)) },
      'SHAPE_MISMATCH',
      'key.dims[1]',
    ],
    [
      'values of another length',
      { value: tensor('float32', [2, 2, 6, 8], new Float32Array(192)) },
      'SHAPE_MISMATCH',
      'value.dims[2]',
    ],
    ['a scale with float32', { key: with_(key, { scale: Float32Array.of(1) }) }, 'UNKNOWN_OPTION', 'key.scale'],
    ['keyLengths as a number', { keyLengths: 5 }, 'INVALID_ARGUMENT', 'keyLengths'],
    ['keyLengths of another class', { keyLengths: new Int32Array(2) }, 'INVALID_ARGUMENT', 'keyLengths'],
    ['a key length too few', { keyLengths: [5] }, 'SHAPE_MISMATCH', 'keyLengths'],
    ['a key length too long', { keyLengths: [5, 6] }, 'INVALID_ARGUMENT', 'keyLengths[1]'],
    ['a negative key length', { keyLengths: [-1, 5] }, 'INVALID_ARGUMENT', 'keyLengths[0]'],
    ['a fractional key length', { keyLengths: [1.5, 5] }, 'INVALID_ARGUMENT', 'keyLengths[0]'],
    ['a hole in keyLengths', { keyLengths: new Array(2) }, 'INVALID_ARGUMENT', 'keyLengths[0]'],
    ['queryStart as a number', { queryStart: 5 }, 'INVALID_ARGUMENT', 'queryStart'],
    ['queryStart of another class', { queryStart: new Uint32Array(2) }, 'INVALID_ARGUMENT', 'queryStart'],
    ['a queryStart too few', { queryStart: [5] }, 'SHAPE_MISMATCH', 'queryStart'],
    ['half a queryStart', { queryStart: [0, 0.5] }, 'INVALID_ARGUMENT', 'queryStart[1]'],
    [
      'a mask of floats',
      { mask: tensor('float32', [1, 1, 1, 5], new Float32Array(5)) },
      'INVALID_ARGUMENT',
      'mask.type',
    ],
    ['a mask of another class', { mask: mask([1, 1, 1, 5], new Int8Array(5)) }, 'INVALID_ARGUMENT', 'mask.data'],
    ['a mask of three heads', { mask: mask([1, 3, 1, 5]) }, 'SHAPE_MISMATCH', 'mask.dims[1]'],
    ['a mask of two rows', { mask: mask([2, 1, 2, 5]) }, 'SHAPE_MISMATCH', 'mask.dims[2]'],
    ['a mask of one key', { mask: mask([2, 4, 3, 1]) }, 'SHAPE_MISMATCH', 'mask.dims[3]'],
    ['an int8 bias', { bias: int8([1, 1, 1, 5], [1]) }, 'INVALID_ARGUMENT', 'bias.type'],
    [
      'a bias of three dims',
      { bias: tensor('float32', [1, 1, 5], new Float32Array(5)) },
      'SHAPE_MISMATCH',
      'bias.dims',
    ],
    [
      'a bias for another batch',
      { bias: tensor('float32', [3, 1, 1, 5], new Float32Array(15)) },
      'SHAPE_MISMATCH',
      'bias.dims[0]',
    ],
    ['an int8 output', { output: int8(queryDims) }, 'INVALID_ARGUMENT', 'output.type'],
    [
      'an output of another shape',
      { output: tensor('float32', [4, 2, 3, 8], new Float32Array(192)) },
      'SHAPE_MISMATCH',
      'output.dims[0]',
    ],
    ['an output too short', { output: resized(query, 100) }, 'SHAPE_MISMATCH', 'output.data'],
    ['output and query in one place', { query, output: query }, 'INVALID_ARGUMENT', 'output'],
    ['output overlapping the query', { query: inShared(0), output: inShared(100) }, 'INVALID_ARGUMENT', 'output'],
    [
      'output over the mask',
      { mask: mask([1, 1, 1, 5], new Uint8Array(shared.buffer, 0, 5)), output: inShared(0) },
      'INVALID_ARGUMENT',
      'output',
    ],
    ['intermediates as text', { intermediates: 'all' }, 'INVALID_ARGUMENT', 'intermediates'],
    ['NaN in the query', { query: holed(query, 100, nan) }, 'NON_FINITE', 'query'],
    ['infinity in the keys', { key: holed(key, 0, infinity) }, 'NON_FINITE', 'key'],
    ['minus infinity at the end of the values', { value: holed(key, 159, -infinity) }, 'NON_FINITE', 'value'],
  ]
  const scaleCases: Case[] = [
    ['int8 without a scale', { query: int8(queryDims) }, 'INVALID_ARGUMENT', 'query.scale'],
    ['an int8 scale too few', { query: int8(queryDims, Array(23).fill(1)) }, 'SHAPE_MISMATCH', 'query.scale'],
    ['a scale of zero', { query: int8(queryDims, Array(24).fill(0)) }, 'INVALID_ARGUMENT', 'query.scale[0]'],
    ['a negative scale', { key: int8(keyDims, [1, 1, -1, 1]) }, 'INVALID_ARGUMENT', 'key.scale[2]'],
    ['a NaN scale', { key: int8(keyDims, [1, nan, 1, 1]) }, 'INVALID_ARGUMENT', 'key.scale[1]'],
    ['an infinite scale', { key: int8(keyDims, [1, infinity, 1, 1]) }, 'INVALID_ARGUMENT', 'key.scale[1]'],
    ['a scale beyond float32', { key: int8(keyDims, [1, 1, 1, 3e38]) }, 'INVALID_ARGUMENT', 'key.scale[3]'],
    ['a bias', { bias: tensor('float32', [1, 1, 1, 5], new Float32Array(5)) }, 'UNKNOWN_OPTION', 'bias'],
    ['a logarithm of the sum', { logSumExp: true }, 'UNKNOWN_OPTION', 'logSumExp'],
  ]
  test.each([
    ...cases.map((given) => [{}, ...given] as const),
    ...scaleCases.map((given) => [{ preset: 'precise-1' } as const, ...given] as const),
  ])('%o: %s', async (preset, _, change, code, argument) => {
    const inputs = { query, key, value: { ...key, data: Float32Array.from(key.data as Float32Array) }, ...change }
    using attention = new Attention({ ...options, ...preset, engine })
    for (const run of [
      () => attention.runSync(inputs as AttentionInputs),
      () => attention.run(inputs as AttentionInputs),
    ]) {
      expectTyped(await errorOf(run), code, argument)
    }
    attention.runSync({ query, key, value: key })
  })

  test.each([undefined, null, 7, [], 'inputs'])('%s instead of inputs', async (bad) => {
    using attention = new Attention({ ...options, engine })
    const run = () => attention.run(bad as unknown as AttentionInputs)
    expectTyped(await errorOf(run), 'INVALID_ARGUMENT', 'inputs')
  })

  test('non-finite values are named by place', async () => {
    using attention = new Attention({ ...options, engine })
    const run = () => attention.runSync({ query: holed(query, 8 * 13 + 5, nan), key, value: key })
    expect(expectTyped(await errorOf(run)).received).toBe('NaN at [1, 0, 1, 5] (element 109)')
  })

  test.each(['fp32', 'fp16', 'int8', 'int'] as const)('%s sees NaN everywhere but in the padding', async (pipeline) => {
    using attention = new Attention({ ...options, pipeline, engine, causal: true })
    const keyLengths = [2, 4]
    for (const [index, padded] of [
      [15, false],
      [16, true],
      [56, true],
      [111, false],
      [119, true],
    ] as const) {
      for (const name of ['key', 'value'] as const) {
        const run = () => attention.runSync({ query, key, value: key, keyLengths, [name]: holed(key, index, nan) })
        if (padded) expect((run().output.data as Float32Array).every(Number.isFinite)).toBe(true)
        else expectTyped(await errorOf(run), 'NON_FINITE', name)
      }
    }
    const nowhereSeen = { query: holed(query, 191, nan), key, value: key, keyLengths: [5, 0] }
    expectTyped(await errorOf(() => attention.runSync(nowhereSeen)), 'NON_FINITE', 'query')
  })

  test('fp16 rejects what float16 cannot hold', async () => {
    using attention = new Attention({ ...options, pipeline: 'fp16', engine })
    attention.runSync({ query, key, value: holed(key, 9, -65519) })
    for (const value of [65520, -1e30]) {
      const error = await errorOf(() => attention.runSync({ query, key, value: holed(key, 9, value) }))
      expect(expectTyped(error, 'NON_FINITE', 'value').expected).toContain('65520')
    }
  })

  test('NaN and infinity as float16 bits', async () => {
    using attention = new Attention({ ...options, engine })
    for (const bits of [0x7c00, 0xfc00, 0x7e01, 0xffff]) {
      const data = new Uint16Array(160)
      data[33] = bits
      const run = () => attention.runSync({ query, key, value: { type: 'float16', dims: keyDims, data } })
      expectTyped(await errorOf(run), 'NON_FINITE', 'value')
    }
  })

  test('a channel too wide to subtract its mean from', async () => {
    using attention = new Attention({ ...options, engine })
    const data = new Float32Array(160)
    for (let i = 0; i < 40; i += 8) data[i] = i < 32 ? -3.4e38 : 3.4e38
    const run = () => attention.runSync({ query, key, value: { type: 'float32', dims: keyDims, data } })
    expectTyped(await errorOf(run), 'NON_FINITE', 'value')
  })

  test.each(['fp32', 'fp16'] as const)('%s takes no int8 and no intermediates', async (pipeline) => {
    using attention = new Attention({ ...options, pipeline, engine })
    const bad = int8(queryDims, Array(24).fill(1))
    expectTyped(
      await errorOf(() => attention.runSync({ query: bad, key, value: key })),
      'INVALID_ARGUMENT',
      'query.type',
    )
    const wanting = { query, key, value: key, intermediates: true }
    expectTyped(await errorOf(() => attention.runSync(wanting)), 'UNKNOWN_OPTION', 'intermediates')
  })

  test('smoothKey and centerValue, asked for, need floats; as defaults they step back', async () => {
    const quantized = { query, key: int8(keyDims, [1, 1, 1, 1]), value: int8(keyDims, Array(32).fill(1)) }
    const version1 = { ...options, engine, preset: 'precise-1' } as const
    using byDefault = new Attention(version1)
    byDefault.runSync(quantized)
    using smooth = new Attention({ ...version1, smoothKey: true })
    expectTyped(await errorOf(() => smooth.runSync(quantized)), 'UNKNOWN_OPTION', 'smoothKey')
    using centred = new Attention({ ...version1, centerValue: true })
    expectTyped(await errorOf(() => centred.runSync(quantized)), 'UNKNOWN_OPTION', 'centerValue')
  })

  test('keys beyond the longest sequence', async () => {
    using attention = new Attention({ heads: 1, headDim: 1, engine })
    const dims = [1, 1, 263173, 1]
    const long: Tensor = { type: 'float32', dims, data: new Float32Array(263173) }
    const short: Tensor = { type: 'float32', dims: [1, 1, 1, 1], data: new Float32Array(1) }
    expectTyped(
      await errorOf(() => attention.runSync({ query: short, key: long, value: long })),
      'INVALID_ARGUMENT',
      'key.dims[2]',
    )
  })

  test('intermediates larger than memory', async () => {
    using attention = new Attention({ heads: 1, headDim: 1, engine })
    const dims = [1, 1, 200000, 1]
    const tall: Tensor = { type: 'float32', dims, data: new Float32Array(200000) }
    const inputs = { query: tall, key: tall, value: tall, intermediates: true }
    expectTyped(await errorOf(() => attention.runSync(inputs)), 'OUT_OF_MEMORY', 'intermediates')
  })
})

describe.each(stepEngineNames)('arguments of indexSoftmax, %s engine', (engine) => {
  const good = { scores: Int32Array.of(1, 2, 3, 4, 5, 6), rows: 2, cols: 3, logitScale: 0.1, engine }
  const cases: Case[] = [
    ['scores of another class', { scores: new Float32Array(6) }, 'INVALID_ARGUMENT', 'scores'],
    ['too few scores', { rows: 3 }, 'SHAPE_MISMATCH', 'scores'],
    ['zero rows', { rows: 0 }, 'INVALID_ARGUMENT', 'rows'],
    ['no cols', { cols: undefined }, 'INVALID_ARGUMENT', 'cols'],
    ['too many cols', { cols: 263173 }, 'INVALID_ARGUMENT', 'cols'],
    ['no logitScale', { logitScale: undefined }, 'INVALID_ARGUMENT', 'logitScale'],
    ['logitScale zero', { logitScale: 0 }, 'INVALID_ARGUMENT', 'logitScale'],
    ['logitScale NaN', { logitScale: Number.NaN }, 'INVALID_ARGUMENT', 'logitScale'],
    ['logitScale negative in row 1', { logitScale: Float64Array.of(1, -1) }, 'INVALID_ARGUMENT', 'logitScale[1]'],
    ['logitScale of another class', { logitScale: Float32Array.of(1, 1) }, 'INVALID_ARGUMENT', 'logitScale'],
    ['logitScale for too many rows', { logitScale: Float64Array.of(1, 1, 1) }, 'SHAPE_MISMATCH', 'logitScale'],
    ['valid of another length', { valid: new Uint8Array(5) }, 'SHAPE_MISMATCH', 'valid'],
    ['valid as booleans', { valid: [true, false] }, 'INVALID_ARGUMENT', 'valid'],
    ['an unknown table', { table: 'e' }, 'INVALID_ARGUMENT', 'table'],
    ['a clip without natural', { clip: 5 }, 'UNKNOWN_OPTION', 'clip'],
    ['an unknown normalization', { normalization: 'softmax' }, 'INVALID_ARGUMENT', 'normalization'],
    ['an unknown option', { width: 3 }, 'UNKNOWN_OPTION', 'width'],
  ]
  test.each(cases)('%s', async (_, change, code, argument) => {
    const bad = { ...good, ...change } as IndexSoftmaxOptions
    expectTyped(await errorOf(() => indexSoftmax(bad)), code, argument)
  })
})

describe.each(stepEngineNames)('arguments of quantize, %s engine', (engine) => {
  const values = tensor('float32', [1, 1, 2, 3], [1, 2, 3, 4, 5, 6])
  const cases: Case[] = [
    ['no values', { values: undefined }, 'INVALID_ARGUMENT', 'values'],
    ['int8 values', { values: tensor('int8', [1, 1, 2, 3], new Int8Array(6)) }, 'INVALID_ARGUMENT', 'values.type'],
    ['NaN', { values: tensor('float32', [1, 1, 1, 2], [Number.NaN, 1]) }, 'NON_FINITE', 'values'],
    ['no scope', { scope: undefined }, 'INVALID_ARGUMENT', 'scope'],
    ['an unknown scope', { scope: 'column' }, 'INVALID_ARGUMENT', 'scope'],
    ['center as a number', { center: 0 }, 'INVALID_ARGUMENT', 'center'],
    [
      'headDim over 1024',
      { values: tensor('float32', [1, 1, 1, 1025], new Float32Array(1025)) },
      'INVALID_ARGUMENT',
      'values.dims[3]',
    ],
    ['an unknown option', { axis: 1 }, 'UNKNOWN_OPTION', 'axis'],
  ]
  test.each(cases)('%s', async (_, change, code, argument) => {
    const bad = { values, scope: 'tensor', engine, ...change } as QuantizeOptions
    expectTyped(await errorOf(() => quantize(bad)), code, argument)
  })
})

describe('arguments of the small functions', () => {
  test('weightTable and indexParameters', async () => {
    expectTyped(await errorOf(() => weightTable({ table: 'exp2', clip: 3 })), 'UNKNOWN_OPTION', 'clip')
    expectTyped(await errorOf(() => indexParameters({ logitScale: 0 })), 'INVALID_ARGUMENT', 'logitScale')
  })

  test('float64Attention', async () => {
    const query = tensor('float32', [1, 3, 1, 2], new Float32Array(6))
    const key = tensor('float32', [1, 2, 1, 2], new Float32Array(4))
    expectTyped(await errorOf(() => float64Attention({ query, key, value: key })), 'SHAPE_MISMATCH', 'key.dims[1]')
    const bad = { query, key: query, value: query, causal: 'yes' as unknown as boolean }
    expectTyped(await errorOf(() => float64Attention(bad)), 'INVALID_ARGUMENT', 'causal')
  })
})

describeEachEngine('results that a type cannot hold', (engine) => {
  const dims = [1, 1, 2, 8]
  const filled = (value: number) => tensor('float32', dims, new Float32Array(16).fill(value))
  const [query, key] = [filled(0.5), filled(0.5)]

  test.each(['fp32', 'int8', 'int'] as const)('%s into float16: from 65520 on', async (pipeline) => {
    using attention = new Attention({ pipeline, heads: 1, headDim: 8, engine })
    const output = tensor('float16', dims, new Float32Array(16))
    for (const run of [attention.run.bind(attention), attention.runSync.bind(attention)]) {
      const { output: fits } = await run({ query, key, value: filled(65000), output })
      expect(fits).toBe(output)
      const error = await errorOf(() => run({ query, key, value: filled(65600), output }))
      expect(expectTyped(error, 'NON_FINITE', 'output').expected).toContain('65520')
      await run({ query, key, value: filled(65600) })
    }
  })

  test('a channel too wide to centre is told from an output that overflows', async () => {
    using attention = new Attention({ heads: 1, headDim: 8, engine, preset: 'precise-1', centerValue: true })
    const output = tensor('float16', dims, new Float32Array(16))
    const large = filled(3e38)
    for (const run of [attention.run.bind(attention), attention.runSync.bind(attention)]) {
      expectTyped(await errorOf(() => run({ query, key, value: large, output })), 'NON_FINITE', 'output')
    }
    const three = [1, 1, 5, 8]
    const data = new Float32Array(40)
    for (let row = 0; row < 5; row++) data[row * 8] = row < 4 ? -3.4e38 : 3.4e38
    const tooWide = {
      query,
      key: tensor('float32', three, new Float32Array(40)),
      value: tensor('float32', three, data),
    }
    for (const run of [attention.run.bind(attention), attention.runSync.bind(attention)]) {
      expectTyped(await errorOf(() => run({ ...tooWide, output })), 'NON_FINITE', 'value')
    }
  })
})
