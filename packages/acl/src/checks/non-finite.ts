import { setImmediate } from 'node:timers/promises'
import { bfloat16Overflow } from '../bfloat16.js'
import { float16Overflow, float16Value } from '../float16.js'
import type { ElementType, Pipeline } from '../types.js'
import { failWith } from './checks.js'
import type { CheckedTensor } from './tensors.js'

/** Work in steps: between two of them, other work may have its turn. */
export type Steps<T> = Generator<void, T>

const stepLength = 2 ** 20

export function allAtOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/** Leaves the event loop a turn between any two steps. */
export async function oneByOne<T>(steps: Steps<T>): Promise<T> {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    await setImmediate()
  }
}

/**
 * Throws `NON_FINITE` for the first value that is NaN, infinite, or too large for the pipeline's format.
 *
 * @param lengths rows present per batch item; those that follow are padding and are not looked at
 */
export function requireFinite(tensor: CheckedTensor, pipeline: Pipeline, lengths?: Uint32Array): void {
  allAtOnce(finiteInSteps(tensor, pipeline, lengths))
}

/** {@link requireFinite}, in steps. */
export function* finiteInSteps(tensor: CheckedTensor, pipeline: Pipeline, lengths?: Uint32Array): Steps<void> {
  const bound = pipeline === 'fp16' ? float16Overflow : Number.POSITIVE_INFINITY
  const index = yield* firstBeyond(tensor, bound, lengths)
  if (index >= 0) reject(tensor, pipeline === 'fp16' ? 'float16' : 'float32', index)
}

/** The first element whose magnitude is not below the bound, or -1. */
export function* firstBeyond({ data, dims, type }: CheckedTensor, bound: number, lengths?: Uint32Array): Steps<number> {
  if (type === 'int8') return -1
  const isBad =
    type === 'float16'
      ? (i: number) => !(Math.abs(float16Value(data[i]!)) < bound)
      : (i: number) => !(Math.abs(data[i]!) < bound)
  const [batch, heads, length, headDim] = dims
  let left = stepLength
  for (let head = 0; head < batch * heads; head++) {
    const start = head * length * headDim
    const end = start + (lengths ? lengths[Math.floor(head / heads)]! : length) * headDim
    for (let i = start; i < end; ) {
      const stop = Math.min(end, i + left)
      left -= stop - i
      for (; i < stop; i++) if (isBad(i)) return i
      if (left > 0) continue
      yield
      left = stepLength
    }
  }
  return -1
}

/** Throws unless every value stays finite when rounded to the type of the output. */
export function requireOutput(type: ElementType, values: Float32Array): void {
  const bound = type === 'float16' ? float16Overflow : Number.POSITIVE_INFINITY
  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i]!) < bound)) outputOverflows(type)
}

export function outputOverflows(type: ElementType): never {
  const bound = type === 'float16' ? float16Overflow : type === 'bfloat16' ? bfloat16Overflow : undefined
  const limit = bound ? `magnitudes below ${bound}` : 'magnitudes that stay finite in float32'
  return failWith('NON_FINITE', 'output', `${limit}, as its type '${type}' needs`, 'larger ones')
}

/** @param argument the tensor with a channel whose values cannot be centred */
export function tooWide(argument: string): never {
  const expected = 'values whose distance from the mean of their channel is a finite float32'
  return failWith('NON_FINITE', argument, expected, 'a channel that spans more')
}

/** Throws for an element that is NaN, infinite or beyond the range of a number format. */
export function reject(
  { argument, data, dims, sourceStrides, type }: CheckedTensor,
  format: 'float16' | 'float32',
  index: number,
): never {
  const [, heads, length, headDim] = dims
  const row = Math.floor(index / headDim)
  const head = Math.floor(row / length)
  const place = [Math.floor(head / heads), head % heads, row % length, index % headDim]
  const element = place.reduce((sum, at, axis) => sum + at * (sourceStrides[axis] ?? 1), 0)
  const value = type === 'float16' ? float16Value(data[index]!) : data[index]
  const expected = format === 'float16' ? `finite values below ${float16Overflow}, float16's range,` : 'finite values'
  return failWith('NON_FINITE', argument, expected, `${value} at [${place.join(', ')}] (element ${element})`)
}
