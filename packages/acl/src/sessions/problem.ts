import type { CacheState } from '../cache/cache-state.js'
import { boolean, fail, failWith, integer, record, type Snapshot } from '../checks/checks.js'
import { plainCopy } from '../checks/dense.js'
import { denseStrides, isNested, overlap } from '../checks/layouts.js'
import { checkMasks, type Masks, maskNames } from '../checks/masks.js'
import type { Dims } from '../checks/scopes.js'
import { allocate, type CheckedTensor, checkTensor, requireDims, withRowScale, withScale } from '../checks/tensors.js'
import { noAddend } from '../options/addends.js'
import type { BlockOptions } from '../options/block-options.js'
import type { QuantizedOptions } from '../options/index-options.js'
import { isBlock, isIndex, isQuantized, type ResolvedOptions } from '../options/options.js'
import { maxRowLength } from '../options/table.js'
import type { FloatTensor, Intermediates, TensorType } from '../types.js'
import { checkCaches, requireHeld } from './cached-problem.js'
import { allocateBlockIntermediates, allocateIndexIntermediates } from './intermediates.js'

/** One run, checked: whatever an engine is given is sound. */
export interface Problem extends Masks {
  readonly batch: number
  readonly queryLength: number
  readonly keyLength: number
  readonly query: CheckedTensor
  readonly key: CheckedTensor
  readonly value: CheckedTensor
  /** One per batch item, instead of `key` and `value`, which then have dims alone: as long as the longest. */
  readonly caches?: readonly CacheState[]
  readonly output: CheckedTensor
  /** What the caller gets back as `output`: the very tensor they supplied, if they did. */
  readonly outputTensor: FloatTensor
  /** Whether this run subtracts the mean of its keys; {@link ResolvedOptions.smoothKey} unless something of the run speaks against it. */
  readonly smoothKey: boolean
  /** Likewise, of its values. */
  readonly centerValue: boolean
  readonly intermediates: Intermediates | undefined
  /** [batch, heads, queryLength], to be filled. */
  readonly logSumExp: Float32Array | undefined
}

const inputNames = ['query', 'key', 'value', 'cache', ...maskNames, 'output', 'intermediates', 'logSumExp']
const floatTypes: readonly TensorType[] = ['float32', 'float16', 'bfloat16']
const anyType: readonly TensorType[] = [...floatTypes, 'int8']

/** Longest key sequence: a row sum of pipeline `int` must fit 32 bits in version 1, 63 bits in version 2. */
export function maxKeyLength(options: ResolvedOptions): number {
  if (isBlock(options)) return 2 ** 18
  return isIndex(options) ? maxRowLength : 2 ** 24
}

/** @param asked the options as the caller gave them, which tell a wish from a default */
export function checkProblem(options: ResolvedOptions, asked: Snapshot, given: unknown): Problem {
  const inputs = record(given, 'inputs', inputNames)
  if (inputs.cache !== undefined) return checkCachedProblem(options, asked, inputs)
  const { heads, kvHeads, headDim, valueDim, pipeline } = options
  const types = options.version === undefined ? floatTypes : anyType

  const query = checkTensor(inputs.query, 'query', types)
  const [batch, , queryLength] = query.dims
  requireDims(query, [batch, heads, queryLength, headDim])
  const key = checkTensor(inputs.key, 'key', types)
  const keyLength = integer(key.dims[2], 'key.dims[2]', 1, maxKeyLength(options))
  requireDims(key, [batch, kvHeads, keyLength, headDim])
  const value = checkTensor(inputs.value, 'value', types)
  requireDims(value, [batch, kvHeads, keyLength, valueDim])
  const tensors = scaled(options, asked, { query, key, value })

  const masks = checkMasks(inputs, [batch, heads, queryLength, keyLength])
  const { mask, bias } = masks
  if (bias && isIndex(options)) noAddend('bias', options.preset, inputs.bias)
  const { output, outputTensor } = checkOutput(inputs.output, [batch, heads, queryLength, valueDim])
  for (const input of [query, key, value, mask, bias]) {
    if (input && overlap(output, input)) overlapping(input.argument)
  }
  const wantsIntermediates = inputs.intermediates !== undefined && boolean(inputs.intermediates, 'intermediates')
  if (wantsIntermediates && options.version === undefined) {
    fail('UNKNOWN_OPTION', 'intermediates', `no intermediates with pipeline '${pipeline}'`, true)
  }
  const wantsLogSumExp = inputs.logSumExp !== undefined && boolean(inputs.logSumExp, 'logSumExp')
  if (wantsLogSumExp && !isBlock(options)) {
    const where = options.preset ? `preset '${options.preset}'` : `pipeline '${pipeline}'`
    fail('UNKNOWN_OPTION', 'logSumExp', `no logSumExp with ${where}`, true)
  }
  const isMasked = mask !== undefined || bias !== undefined
  return {
    batch,
    queryLength,
    keyLength,
    ...masks,
    ...tensors,
    output,
    outputTensor,
    smoothKey: subtractsMean(options, asked, 'smoothKey', key, isMasked),
    centerValue: subtractsMean(options, asked, 'centerValue', value, isMasked),
    intermediates: wantsIntermediates ? allocateIntermediates(options, tensors) : undefined,
    logSumExp: wantsLogSumExp ? allocate(Float32Array, batch * heads * queryLength, 'logSumExp') : undefined,
  }
}

function checkCachedProblem(options: ResolvedOptions, asked: Snapshot, inputs: Snapshot): Problem {
  for (const name of ['key', 'value', 'keyLengths']) {
    if (inputs[name] !== undefined) fail('UNKNOWN_OPTION', name, 'none beside a cache, which has its own', inputs[name])
  }
  const { heads, kvHeads, headDim, valueDim, pipeline, preset } = options
  if (!isBlock(options)) {
    const where = preset ? `preset '${preset}'` : `pipeline '${pipeline}'`
    return fail('UNKNOWN_OPTION', 'cache', `no cache with ${where}`, inputs.cache)
  }
  const query = checkTensor(inputs.query, 'query', options.rotate ? floatTypes : anyType)
  const [batch, , queryLength] = query.dims
  requireDims(query, [batch, heads, queryLength, headDim])
  const caches = checkCaches(options, asked, inputs.cache, batch)
  const lengths = caches.map(({ store }) => store.length)
  const keyLength = Math.max(...lengths)
  const masks =
    keyLength > 0
      ? checkMasks({ ...inputs, keyLengths: lengths }, [batch, heads, queryLength, keyLength])
      : { keyLengths: Uint32Array.from(lengths), queryStart: undefined, mask: undefined, bias: undefined }
  const queryStart = masks.queryStart ?? Int32Array.from(lengths, (length) => length - queryLength)
  for (const [item, cache] of caches.entries()) {
    requireHeld(options, cache, queryStart[item]!, queryLength, caches.length === 1 ? 'cache' : `cache[${item}]`)
  }
  const { output, outputTensor } = checkOutput(inputs.output, [batch, heads, queryLength, valueDim])
  for (const input of [query, masks.mask, masks.bias]) {
    if (input && overlap(output, input)) overlapping(input.argument)
  }
  const rows = (argument: string, dim: number): CheckedTensor => {
    const data = new Int8Array(0)
    const dims: Dims = [batch, kvHeads, keyLength, dim]
    const strides = denseStrides(dims)
    return {
      ...{ argument, type: 'float32', dims, strides, data, source: data, sourceStrides: strides, length: 0 },
      givenScale: undefined,
    }
  }
  const tensors = { query: withRowScale(query), key: rows('key', headDim), value: rows('value', valueDim) }
  const wants = (name: 'intermediates' | 'logSumExp') => inputs[name] !== undefined && boolean(inputs[name], name)
  return {
    ...{ batch, queryLength, keyLength, ...masks, queryStart, ...tensors, caches, output, outputTensor },
    smoothKey: false,
    centerValue: false,
    intermediates: wants('intermediates') ? allocateBlockIntermediates(options, tensors) : undefined,
    logSumExp: wants('logSumExp') ? allocate(Float32Array, batch * heads * queryLength, 'logSumExp') : undefined,
  }
}

/** @param argument the input that shares memory with the output */
export function overlapping(argument: string): never {
  return failWith('INVALID_ARGUMENT', 'output', 'memory of its own', `memory shared with ${argument}`)
}

type Tensors = Record<'query' | 'key' | 'value', CheckedTensor>

/** The tensors with their scales, if what is int8 goes together with itself and the options. */
function scaled(options: ResolvedOptions, asked: Snapshot, tensors: Tensors): Tensors {
  const { key, value } = tensors
  if (asked.smoothKey === true && key.type === 'int8') notForInt8('smoothKey', 'key')
  if (asked.centerValue === true && value.type === 'int8') notForInt8('centerValue', 'value')
  if (isBlock(options)) return withRowScales(options, tensors)
  return isQuantized(options) ? withScales(options, tensors) : tensors
}

function withScales({ quantization }: QuantizedOptions, { query, key, value }: Tensors): Tensors {
  return {
    query: withScale(query, quantization.query),
    key: withScale(key, quantization.key),
    value: withScale(value, quantization.value),
  }
}

function withRowScales({ keyBits, valueBits, ...options }: BlockOptions, { query, key, value }: Tensors): Tensors {
  if ((query.type === 'int8') !== (key.type === 'int8')) {
    const expected =
      query.type === 'int8' ? "'int8', as the query's" : "'float32', 'float16' or 'bfloat16', as the query is no int8"
    failWith('INVALID_ARGUMENT', 'key.type', expected, `'${key.type}'`)
  }
  if (key.type === 'int8') {
    if (options.keyOffset) notForInt8('keyOffset', 'key')
    if (keyBits === 4) notForInt8('keyBits', 'key', 4)
  }
  if (value.type === 'int8') {
    if (options.valueOffset) notForInt8('valueOffset', 'value')
    if (valueBits === 4) notForInt8('valueBits', 'value', 4)
  }
  return { query: withRowScale(query), key: withRowScale(key), value: withRowScale(value) }
}

function notForInt8(option: string, argument: string, value?: number): never {
  const received = `an int8 ${argument} with ${option}${value === undefined ? '' : `: ${value}`}`
  return failWith('UNKNOWN_OPTION', option, `a ${argument} of floats, quantized here`, received)
}

function subtractsMean(
  options: ResolvedOptions,
  asked: Snapshot,
  name: 'smoothKey' | 'centerValue',
  { type }: CheckedTensor,
  isMasked: boolean,
): boolean {
  if (!options[name] || type === 'int8') return false
  return !isBlock(options) || asked[name] === true || !isMasked
}

function checkOutput(given: unknown, dims: Dims): { output: CheckedTensor; outputTensor: FloatTensor } {
  if (given === undefined) {
    const length = dims.reduce((product, dim) => product * dim, 1)
    const data = allocate(Float32Array, length, 'output')
    const output: CheckedTensor = {
      argument: 'output',
      type: 'float32',
      dims,
      strides: denseStrides(dims),
      data,
      source: data,
      sourceStrides: denseStrides(dims),
      length,
      givenScale: undefined,
    }
    return { output, outputTensor: { type: 'float32', dims: [...dims], data } }
  }
  const output = checkTensor(given, 'output', floatTypes)
  requireDims(output, dims)
  if (!isNested(output)) {
    const expected = 'strides that give every element a place of its own, one dimension within another'
    failWith('INVALID_ARGUMENT', 'output.strides', expected, `[${[...output.strides, 1].join(', ')}]`)
  }
  return { output, outputTensor: given as FloatTensor }
}

function allocateIntermediates(options: ResolvedOptions, tensors: Tensors): Intermediates | undefined {
  if (isBlock(options)) return allocateBlockIntermediates(options, tensors)
  return isQuantized(options) ? allocateIndexIntermediates(options, tensors) : undefined
}

/** Everything a run reads or writes. */
export function arraysOf({ query, key, value, mask, bias, output }: Problem): CheckedTensor[] {
  return [query, key, value, mask, bias, output].filter((tensor) => tensor !== undefined)
}

/** The same run, with private copies of the tensors for which `isCopied` holds. */
export function withCopies(problem: Problem, isCopied: (tensor: CheckedTensor) => boolean): Problem {
  const copy = <T extends CheckedTensor | undefined>(tensor: T) =>
    (tensor && isCopied(tensor) ? plainCopy(tensor) : tensor) as T
  const { query, key, value, mask, bias, output } = problem
  const inputs = { query: copy(query), key: copy(key), value: copy(value), mask: copy(mask), bias: copy(bias) }
  return { ...problem, ...inputs, output: copy(output) }
}
