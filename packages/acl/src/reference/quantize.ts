import { tooWide } from '../checks/non-finite.js'
import { type Dims, type Scope, scaleCount, scaleIndex } from '../checks/scopes.js'
import { roundTiesToEven } from '../float16.js'

export interface Quantized {
  quantized: Int8Array
  scale: Float32Array
  /** [batch, heads, headDim]; zeros when nothing was subtracted. */
  mean: Float32Array
}

export interface QuantizeProblem {
  /** The name errors call the values by. */
  argument: string
  values: Float32Array
  dims: Dims
  scope: Scope
  center: boolean
  /** Rows present per batch item; the others quantize to 0. Default: all. */
  lengths?: Uint32Array | undefined
}

/** Section 1 of the numeric specification. */
export function quantizeReference({ argument, values, dims, scope, center, lengths }: QuantizeProblem): Quantized {
  const [batch, heads, length, headDim] = dims
  const mean = center ? channelMeans(values, dims, lengths) : new Float32Array(batch * heads * headDim)
  const scale = new Float32Array(scaleCount(scope, dims))
  const quantized = new Int8Array(values.length)

  const forEach = (visit: (x: number, i: number, group: number) => void) => {
    for (let head = 0; head < batch * heads; head++) {
      const present = lengths ? lengths[Math.floor(head / heads)]! : length
      for (let row = 0; row < present; row++) {
        for (let column = 0; column < headDim; column++) {
          const i = (head * length + row) * headDim + column
          const x = Math.fround(values[i]! - mean[head * headDim + column]!)
          visit(x, i, scaleIndex(scope, dims, head, row, column))
        }
      }
    }
  }

  const maxAbs = new Float32Array(scale.length)
  forEach((x, _, group) => {
    maxAbs[group] = Math.max(maxAbs[group]!, Math.abs(x))
  })
  const inverse = maxAbs.map((most) => 127 / most)
  for (const [group, most] of maxAbs.entries()) {
    if (most === Number.POSITIVE_INFINITY) tooWide(argument)
    if (Number.isFinite(inverse[group])) {
      scale[group] = most / 127
    } else {
      scale[group] = 1
      inverse[group] = 0
    }
  }
  forEach((x, i, group) => {
    quantized[i] = Math.max(-127, Math.min(127, roundTiesToEven(Math.fround(x * inverse[group]!))))
  })
  return { quantized, scale, mean }
}

/** Mean over the rows of each (batch, head, channel): float64 sums of blocks of 64 rows, added in order, rounded once. */
export function channelMeans(values: Float32Array, dims: Dims, lengths?: Uint32Array): Float32Array {
  const [batch, heads, length, headDim] = dims
  const mean = new Float32Array(batch * heads * headDim)
  for (let head = 0; head < batch * heads; head++) {
    const present = lengths ? lengths[Math.floor(head / heads)]! : length
    if (present === 0) continue
    for (let column = 0; column < headDim; column++) {
      let sum = 0
      for (let block = 0; block < present; block += 64) {
        let blockSum = 0
        for (let row = block; row < Math.min(block + 64, present); row++) {
          blockSum += values[(head * length + row) * headDim + column]!
        }
        sum += blockSum
      }
      mean[head * headDim + column] = sum / present
    }
  }
  return mean
}
