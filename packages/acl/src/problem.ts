import { type NumericArray, overlap } from './buffers.js'
import { boolean, fail, failWith, integer, record, type Snapshot } from './checks.js'
import { isQuantized, type QuantizedOptions, type ResolvedOptions } from './options.js'
import { type Dims, scaleCount } from './scopes.js'
import { maxRowLength } from './table.js'
import { allocate, type CheckedTensor, checkKeyLengths, checkTensor, requireDims, withScale } from './tensors.js'
import type { FloatTensor, Intermediates, Pipeline, TensorType } from './types.js'

/** One run, checked: whatever an engine is given is sound. */
export interface Problem {
  readonly batch: number
  readonly queryLength: number
  readonly keyLength: number
  readonly keyLengths: Uint32Array | undefined
  readonly query: CheckedTensor
  readonly key: CheckedTensor
  readonly value: CheckedTensor
  readonly output: CheckedTensor
  /** What the caller gets back as `output`: the very tensor they supplied, if they did. */
  readonly outputTensor: FloatTensor
  readonly intermediates: Intermediates | undefined
}

const inputNames = ['query', 'key', 'value', 'keyLengths', 'output', 'intermediates']
const floatTypes: readonly TensorType[] = ['float32', 'float16']
const anyType: readonly TensorType[] = ['float32', 'float16', 'int8']

/** Longest key sequence: a row sum of the `int` pipeline must fit 32 bits. */
export const maxKeyLength = (pipeline: Pipeline): number => (pipeline === 'int' ? maxRowLength : 2 ** 24)

/** @param asked the options as the caller gave them, which tell a wish from a default */
export function checkProblem(options: ResolvedOptions, asked: Snapshot, given: unknown): Problem {
  const inputs = record(given, 'inputs', inputNames)
  const { heads, kvHeads, headDim, pipeline } = options
  const types = isQuantized(options) ? anyType : floatTypes

  const query = checkTensor(inputs.query, 'query', types)
  const [batch, , queryLength] = query.dims
  requireDims(query, [batch, heads, queryLength, headDim])
  const key = checkTensor(inputs.key, 'key', types)
  const keyLength = integer(key.dims[2], 'key.dims[2]', 1, maxKeyLength(pipeline))
  requireDims(key, [batch, kvHeads, keyLength, headDim])
  const value = checkTensor(inputs.value, 'value', types)
  requireDims(value, key.dims)
  const tensors = isQuantized(options) ? scaled(options, asked, { query, key, value }) : { query, key, value }

  const keyLengths = checkKeyLengths(inputs.keyLengths, batch, keyLength)
  const { output, outputTensor } = checkOutput(inputs.output, query.dims)
  for (const input of [query, key, value]) {
    if (overlap(output.data, input.data)) overlapping(input.argument)
  }
  const wanted = inputs.intermediates !== undefined && boolean(inputs.intermediates, 'intermediates')
  if (wanted && !isQuantized(options)) {
    fail('UNKNOWN_OPTION', 'intermediates', `no intermediates with pipeline '${pipeline}'`, true)
  }
  const intermediates =
    wanted && isQuantized(options) ? allocateIntermediates(options, query.dims, key.dims) : undefined
  return { batch, queryLength, keyLength, keyLengths, ...tensors, output, outputTensor, intermediates }
}

/** @param argument the input that shares memory with the output */
export function overlapping(argument: string): never {
  return failWith('INVALID_ARGUMENT', 'output', 'memory of its own', `memory shared with ${argument}`)
}

function scaled(
  options: QuantizedOptions,
  asked: Snapshot,
  { query, key, value }: Record<'query' | 'key' | 'value', CheckedTensor>,
): Record<'query' | 'key' | 'value', CheckedTensor> {
  const { quantization } = options
  if (asked.smoothKey === true && key.type === 'int8') notForInt8('smoothKey', 'key')
  if (asked.centerValue === true && value.type === 'int8') notForInt8('centerValue', 'value')
  return {
    query: withScale(query, quantization.query),
    key: withScale(key, quantization.key),
    value: withScale(value, quantization.value),
  }
}

function notForInt8(option: string, argument: string): never {
  const received = `an int8 ${argument} with ${option}: true`
  return failWith('UNKNOWN_OPTION', option, `a float32 or float16 ${argument}, quantized here`, received)
}

function checkOutput(given: unknown, dims: Dims): { output: CheckedTensor; outputTensor: FloatTensor } {
  if (given === undefined) {
    const length = dims.reduce((product, dim) => product * dim, 1)
    const data = allocate(Float32Array, length, 'output')
    const output: CheckedTensor = {
      argument: 'output',
      type: 'float32',
      dims,
      data,
      source: data,
      length,
      givenScale: undefined,
    }
    return { output, outputTensor: { type: 'float32', dims: [...dims], data } }
  }
  const output = checkTensor(given, 'output', floatTypes)
  requireDims(output, dims)
  return { output, outputTensor: given as FloatTensor }
}

function allocateIntermediates(options: QuantizedOptions, query: Dims, key: Dims): Intermediates {
  const { pipeline, quantization } = options
  const [batch, heads, queryLength, headDim] = query
  const rows = batch * heads * queryLength
  const keys = batch * key[1] * key[2] * headDim
  const make = <T>(create: new (length: number) => T, length: number) => allocate(create, length, 'intermediates')
  const quantized: Intermediates = {
    queryInt8: make(Int8Array, rows * headDim),
    keyInt8: make(Int8Array, keys),
    valueInt8: make(Int8Array, keys),
    queryScale: make(Float32Array, scaleCount(quantization.query, query)),
    keyScale: make(Float32Array, scaleCount(quantization.key, key)),
    valueScale: make(Float32Array, scaleCount(quantization.value, key)),
    valueCenter: make(Float32Array, batch * key[1] * headDim),
    scores: make(Int32Array, rows * key[2]),
  }
  if (pipeline !== 'int') return quantized
  return {
    ...quantized,
    probabilities: make(Uint8Array, rows * key[2]),
    rowSum: make(Uint32Array, rows),
    lost: make(Int32Array, rows),
  }
}

/** The same run, with private copies of the tensors for which `isCopied` holds. */
export function withCopies(problem: Problem, isCopied: (tensor: CheckedTensor) => boolean): Problem {
  const copy = (tensor: CheckedTensor) => (isCopied(tensor) ? { ...tensor, data: copyOf(tensor) } : tensor)
  const { query, key, value, output } = problem
  return { ...problem, query: copy(query), key: copy(key), value: copy(value), output: copy(output) }
}

function copyOf({ argument, data }: CheckedTensor): NumericArray {
  const copy = allocate<NumericArray>(data.constructor as new (length: number) => NumericArray, data.length, argument)
  copy.set(data)
  return copy
}
