import type { NumericArray } from './buffers.js'
import type { Dims } from './scopes.js'

/** Elements from one batch item, head and row of a tensor to the next; the elements of a row are neighbours. */
export type Strides = readonly [batch: number, head: number, row: number]

/** What of a tensor says where in memory its elements are. */
export interface Layout {
  readonly dims: Dims
  readonly strides: Strides
  readonly data: NumericArray
}

export function denseStrides([, heads, length, dim]: Dims): Strides {
  return [heads * length * dim, length * dim, dim]
}

/** Whether the elements are one after the other in the order of the dims. */
export function isDense({ dims, strides }: Pick<Layout, 'dims' | 'strides'>): boolean {
  return denseStrides(dims).every((stride, axis) => dims[axis] === 1 || strides[axis] === stride)
}

/** Elements from the first to the last of a tensor, both included; not exact beyond 2^53. */
export function span([batch, heads, length, dim]: Dims, [ofBatch, ofHead, ofRow]: Strides): number {
  return (batch - 1) * ofBatch + (heads - 1) * ofHead + (length - 1) * ofRow + dim
}

/** Where each row begins, in elements, in the order of the dims. */
export function* rowStarts([batch, heads, length]: Dims, [ofBatch, ofHead, ofRow]: Strides): Generator<number> {
  for (let item = 0; item < batch; item++) {
    for (let head = 0; head < heads; head++) {
      for (let row = 0; row < length; row++) yield item * ofBatch + head * ofHead + row * ofRow
    }
  }
}

/** Elements that a tensor uses: pieces of equal length, one axis of them within another. */
interface Pieces {
  length: number
  /** From the innermost to the outermost; each stride exceeds what is within. */
  axes: { count: number; stride: number }[]
}

/** The elements a tensor uses; undefined where rows that begin in one axis reach into those of another. */
function piecesOf({ dims, strides }: Pick<Layout, 'dims' | 'strides'>): Pieces | undefined {
  const all = strides.map((stride, axis) => ({ stride, count: dims[axis]! })).filter(({ count }) => count > 1)
  let length = dims[3]
  let reach = length
  const axes: Pieces['axes'] = []
  for (const axis of all.sort((a, b) => a.stride - b.stride)) {
    const { stride, count } = axis
    if (axes.length > 0 && stride < reach) return undefined
    reach += (count - 1) * stride
    if (axes.length === 0 && stride <= length) length = reach
    else axes.push(axis)
  }
  return { length, axes }
}

/** Whether every element has a place of its own, and one axis lies within another: what an output needs. */
export function isNested({ dims, strides }: Pick<Layout, 'dims' | 'strides'>): boolean {
  let reach = dims[3]
  const axes = strides.map((stride, axis) => ({ stride, count: dims[axis]! })).filter(({ count }) => count > 1)
  for (const { stride, count } of axes.sort((a, b) => a.stride - b.stride)) {
    if (stride < reach) return false
    reach += (count - 1) * stride
  }
  return true
}

/** The bytes of a tensor's pieces, ascending; of rows that are not nested, all from the first to the last. */
function* ranges(layout: Layout): Generator<Range> {
  const { dims, strides, data } = layout
  const { byteOffset: first, BYTES_PER_ELEMENT: bytes } = data
  const { length, axes } = piecesOf(layout) ?? { length: span(dims, strides), axes: [] }
  const at = axes.map(() => 0)
  for (;;) {
    const start = first + bytes * axes.reduce((sum, { stride }, axis) => sum + stride * at[axis]!, 0)
    yield [start, start + bytes * length]
    let axis = 0
    while (axis < axes.length && ++at[axis]! === axes[axis]!.count) at[axis++] = 0
    if (axis === axes.length) return
  }
}

type Range = readonly [begin: number, end: number]
const share = (a: Range, b: Range): boolean => a[0] < b[1] && b[0] < a[1]

function wholeRange({ dims, strides, data }: Layout): Range {
  return [data.byteOffset, data.byteOffset + data.BYTES_PER_ELEMENT * span(dims, strides)]
}

/** Whether two tensors share a byte that both use. */
export function overlap(a: Layout, b: Layout): boolean {
  if (a.data.buffer !== b.data.buffer || !share(wholeRange(a), wholeRange(b))) return false
  const [ofA, ofB] = [ranges(a), ranges(b)]
  let [nextA, nextB] = [ofA.next(), ofB.next()]
  while (!nextA.done && !nextB.done) {
    if (share(nextA.value, nextB.value)) return true
    if (nextA.value[1] <= nextB.value[0]) nextA = ofA.next()
    else nextB = ofB.next()
  }
  return false
}
