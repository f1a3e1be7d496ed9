import { IntAttnError } from '../errors.js'
import type { ElementType } from '../types.js'
import { arrayLength, arrayName, fixedView, isDetached, type NumericArray } from './buffers.js'
import { anyObject, fail, failWith, integer, isArray, oneOf, read, snapshot } from './checks.js'
import { describe } from './describe.js'
import { denseStrides, isDense, type Strides, span } from './layouts.js'
import { type Dims, type Scope, scaleCount } from './scopes.js'

/** A tensor after the border: read once, checked, its data a plain view of fixed length. */
export interface CheckedTensor {
  /** The name errors call it by. */
  readonly argument: string
  readonly type: ElementType
  readonly dims: Dims
  /** Of `data`. */
  readonly strides: Strides
  /** Dense tensors: as many elements as the dims say. */
  readonly data: NumericArray
  /** The caller's own array, which decides whether the memory is still there after a run. */
  readonly source: ArrayBufferView
  readonly sourceStrides: Strides
  /** Elements of `source` when it was checked. */
  readonly length: number
  /** As the caller gave it. */
  readonly givenScale: unknown
  /** A private copy, checked; `int8` only. */
  readonly scale?: Float32Array
}

const axes = ['batch', 'heads', 'length', 'headDim']
const maxDim = 2 ** 32 - 1
const classes: Record<ElementType, readonly string[]> = {
  float32: ['Float32Array'],
  float16: ['Uint16Array', 'Float16Array'],
  bfloat16: ['Uint16Array'],
  int8: ['Int8Array'],
  bool: ['Uint8Array'],
}

/** Check a tensor of four dims by itself. Its array is looked at last: reading the rest may run getters. */
export function checkTensor(given: unknown, argument: string, allowed: readonly ElementType[]): CheckedTensor {
  const tensor = snapshot(anyObject(given, argument), ['type', 'dims', 'strides', 'data', 'scale'], `${argument}.`)
  const type = oneOf(tensor.type, `${argument}.type`, allowed)
  const dims = checkDims(tensor.dims, `${argument}.dims`)
  const count = elementCount(dims, `${argument}.dims`)
  const isGiven = tensor.strides !== undefined
  const strides = isGiven ? checkStrides(tensor.strides, `${argument}.strides`) : denseStrides(dims)
  const source = isGiven
    ? requireSpan(tensor.data, argument, classes[type], span(dims, strides))
    : checkArray(tensor.data, `${argument}.data`, classes[type], count)
  const { scale: givenScale } = tensor
  if (type !== 'int8' && givenScale !== undefined) {
    fail('UNKNOWN_OPTION', `${argument}.scale`, `no scale with type '${type}'`, givenScale)
  }
  const view = fixedView(source)
  return {
    argument,
    type,
    dims,
    strides,
    data: isDense({ dims, strides }) ? (view.subarray(0, count) as NumericArray) : view,
    source,
    sourceStrides: strides,
    length: view.length,
    givenScale,
  }
}

/** The same tensor with its scales, one per group of `scope`; a tensor of floats comes back as it is. */
export function withScale(tensor: CheckedTensor, scope: Scope): CheckedTensor {
  if (tensor.type !== 'int8') return tensor
  const argument = `${tensor.argument}.scale`
  const array = checkArray(
    tensor.givenScale,
    argument,
    ['Float32Array'],
    scaleCount(scope, tensor.dims),
    `scope '${scope}'`,
  )
  const scale = new Float32Array(fixedView(array) as Float32Array)
  for (let i = 0; i < scale.length; i++) {
    if (scale[i]! > 0 && Math.fround(scale[i]! * 128) < Number.POSITIVE_INFINITY) continue
    fail('INVALID_ARGUMENT', `${argument}[${i}]`, 'a positive number whose 128-fold is a finite float32', scale[i])
  }
  return { ...tensor, scale }
}

/** The same tensor with a scale for each row, given one by one or one for all, whatever their values; floats come back as they are. */
export function withRowScale(tensor: CheckedTensor): CheckedTensor {
  if (tensor.type !== 'int8') return tensor
  const { givenScale, dims } = tensor
  const rows = dims[0] * dims[1] * dims[2]
  const isOne = arrayName(givenScale) === 'Float32Array' && arrayLength(givenScale as Float32Array) === 1
  const because = 'one per row, or one for all'
  const array = checkArray(givenScale, `${tensor.argument}.scale`, ['Float32Array'], isOne ? 1 : rows, because)
  const given = fixedView(array) as Float32Array
  const scale = allocate(Float32Array, rows, `${tensor.argument}.scale`)
  if (isOne) scale.fill(given[0]!)
  else scale.set(given)
  return { ...tensor, scale }
}

/** A typed array of one of the named classes with exactly `length` elements. */
export function checkArray(
  value: unknown,
  argument: string,
  names: readonly string[],
  length: number,
  because = 'the product of dims',
): ArrayBufferView {
  const array = anyArray(value, argument, names)
  if (arrayLength(array) === length) return array
  return failWith('SHAPE_MISMATCH', argument, `${length} elements (${because})`, describeArray(array))
}

/** A typed array that holds at least as many elements as a tensor with strides spans. */
function requireSpan(value: unknown, argument: string, names: readonly string[], length: number): ArrayBufferView {
  const array = anyArray(value, `${argument}.data`, names)
  if (arrayLength(array) >= length) return array
  const expected = `at least ${length} elements, to which dims and strides lead`
  return failWith('SHAPE_MISMATCH', `${argument}.data`, expected, describeArray(array))
}

function anyArray(value: unknown, argument: string, names: readonly string[]): ArrayBufferView {
  const name = arrayName(value)
  if (name !== undefined && names.includes(name)) return value as ArrayBufferView
  return fail('INVALID_ARGUMENT', argument, `a ${names.join(' or ')}`, value)
}

const describeArray = (array: ArrayBufferView): string =>
  isDetached(array) ? `a detached ${arrayName(array)}` : describe(array)

/** Each array must still have the elements it had when it was checked. */
export function requireUnchanged(tensors: readonly CheckedTensor[]): void {
  for (const { argument, source, length } of tensors) {
    if (arrayLength(source) === length) continue
    const expected = `${length} elements until the run is complete`
    failWith('BUFFER_CHANGED', `${argument}.data`, expected, describeArray(source))
  }
}

/** Each dim must be the expected one. */
export function requireDims({ argument, dims }: CheckedTensor, expected: Dims): void {
  for (const [axis, dim] of expected.entries()) {
    if (dims[axis] === dim) continue
    const received = `${dims[axis]} in [${dims.join(', ')}]`
    failWith('SHAPE_MISMATCH', `${argument}.dims[${axis}]`, `${dim} as in [${expected.join(', ')}]`, received)
  }
}

/** Each of the first three dims must be the expected one or 1, the last one the expected one. */
export function requireBroadcast({ argument, dims }: CheckedTensor, expected: Dims): void {
  for (const [axis, dim] of expected.entries()) {
    if (dims[axis] === dim || (axis < 3 && dims[axis] === 1)) continue
    const wanted = axis < 3 && dim !== 1 ? `1 or ${dim}` : `${dim}`
    const received = `${dims[axis]} in [${dims.join(', ')}]`
    failWith('SHAPE_MISMATCH', `${argument}.dims[${axis}]`, `${wanted}, to fit [${expected.join(', ')}]`, received)
  }
}

/** What a list of numbers must be. */
export interface ListRule {
  /** The typed array that is taken beside plain arrays. */
  array: 'Float32Array' | 'Int32Array' | 'Uint32Array'
  count: number
  /** What there is one of for each element: `one per batch item`. */
  because: string
  check: (element: unknown, argument: string) => number
}

/** A private copy of a short list of numbers. */
export function checkList(given: unknown, argument: string, { array, count, because, check }: ListRule): number[] {
  const isTyped = arrayName(given) === array
  if (!isTyped && !isArray(given)) {
    return fail('INVALID_ARGUMENT', argument, `an array of numbers or ${article(array)} ${array}`, given)
  }
  const list = given as ArrayBufferView & readonly unknown[]
  const length = isTyped ? arrayLength(list) : read(list, 'length', argument)
  if (length !== count) fail('SHAPE_MISMATCH', argument, `${count} elements, ${because}`, given)
  return Array.from({ length: count }, (_, i) => check(read(list, i, `${argument}[${i}]`), `${argument}[${i}]`))
}

const article = (name: string): string => (/^[AEIO]/.test(name) ? 'an' : 'a')

/** A private copy of the present keys per batch item; undefined when all are. */
export function checkKeyLengths(given: unknown, batch: number, keyLength: number): Uint32Array | undefined {
  if (given === undefined) return undefined
  const check = (length: unknown, argument: string) => integer(length, argument, 0, keyLength)
  const rule = { array: 'Uint32Array', count: batch, because: 'one per batch item', check } as const
  return Uint32Array.from(checkList(given, 'keyLengths', rule))
}

/** A new array, or an {@link IntAttnError} when there is no memory for it. */
export function allocate<T>(create: new (length: number) => T, length: number, argument: string): T {
  try {
    return new create(length)
  } catch (cause) {
    const bytes = length * (create as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT
    const expected = `${bytes} bytes of memory for a ${create.name}`
    throw new IntAttnError({ code: 'OUT_OF_MEMORY', argument, expected, received: 'less' }, { cause })
  }
}

function checkDims(given: unknown, argument: string): Dims {
  if (!isArray(given) || read(given, 'length', argument) !== axes.length) {
    return fail('SHAPE_MISMATCH', argument, `[${axes.join(', ')}]`, given)
  }
  const dims = axes.map((_, axis) => {
    const path = `${argument}[${axis}]`
    return integer(read(given, axis, path), path, 1, maxDim)
  })
  return dims as unknown as Dims
}

function checkStrides(given: unknown, argument: string): Strides {
  if (!isArray(given) || read(given, 'length', argument) !== axes.length) {
    return fail('SHAPE_MISMATCH', argument, `[${axes.join(', ')}]`, given)
  }
  const strides = [0, 1, 2].map((axis) => {
    const path = `${argument}[${axis}]`
    return integer(read(given, axis, path), path, 0, Number.MAX_SAFE_INTEGER)
  })
  oneOf(read(given, 3, `${argument}[3]`), `${argument}[3]`, [1])
  return strides as unknown as Strides
}

function elementCount(dims: Dims, argument: string): number {
  const count = dims.reduce((product, dim) => product * dim, 1)
  if (count <= Number.MAX_SAFE_INTEGER) return count
  return failWith('SHAPE_MISMATCH', argument, 'a product that memory can hold', `[${dims.join(', ')}]`)
}
