/** Which values of a [batch, heads, length, headDim] tensor share one scale. */
export type Scope = 'tensor' | 'head' | 'row' | 'channel'

export type Dims = readonly [batch: number, heads: number, length: number, headDim: number]

/** How many scales a scope has; they are laid out in this order too. */
export function scaleCount(scope: Scope, [batch, heads, length, headDim]: Dims): number {
  switch (scope) {
    case 'tensor':
      return 1
    case 'head':
      return batch * heads
    case 'row':
      return batch * heads * length
    case 'channel':
      return batch * heads * headDim
  }
}

/** Which scale holds for a value: `head` counts over batch * heads, `row` and `column` within the head. */
export function scaleIndex(scope: Scope, dims: Dims, head: number, row: number, column: number): number {
  switch (scope) {
    case 'tensor':
      return 0
    case 'head':
      return head
    case 'row':
      return head * dims[2] + row
    case 'channel':
      return head * dims[3] + column
  }
}
