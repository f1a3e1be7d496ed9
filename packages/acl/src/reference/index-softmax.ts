import type { ResolvedTable } from '../options/table.js'
import type { Normalization } from '../types.js'

/** The integers that turn a distance from the row maximum into a table index; section 3 of the numeric specification. */
export interface IndexParameters {
  /** Right shift of the distance; a left shift when negative. */
  shift: number
  /** Clip threshold in shifted units, 16384 … 32768. */
  threshold: number
  /** At most 15 bits. */
  multiplier: number
  /** w */
  weightShift: number
}

/** Weight W, plane h and unit u; section 4. */
export interface WeightTable {
  weight: Uint16Array
  plane: Uint8Array
  /** Weights are this many times finer than the plane. */
  unit: 1 | 64
}

const exponentBits = new DataView(new ArrayBuffer(8))

/** floor(log2(x)) of a normal number, read from its exponent. */
function floorLog2(x: number): number {
  exponentBits.setFloat64(0, x)
  return ((exponentBits.getUint16(0) >>> 4) & 0x7ff) - 1023
}

export function indexParameters(table: ResolvedTable, logitScale: number): IndexParameters {
  const steps = table.table === 'exp2' ? 240 : 2 ** table.lutBits - 1
  const clip = table.table === 'exp2' ? 15 * Math.LN2 : table.clip
  const realThreshold = clip / logitScale
  const shift = floorLog2(realThreshold) - 14
  const threshold = Math.floor(realThreshold * 2 ** -shift + 0.5)
  const weightShift = floorLog2((32767 * 16384) / steps)
  const multiplier = Math.floor((steps * 2 ** weightShift) / threshold + 0.5)
  return { shift, threshold, multiplier, weightShift }
}

export function weightTable(table: ResolvedTable): WeightTable {
  if (table.table === 'exp2') {
    const fractions = Array.from({ length: 16 }, (_, f) => Math.floor(32640 * 2 ** (-f / 16) + 0.5))
    const weight = Uint16Array.from({ length: 241 }, (_, i) => ((fractions[i & 15]! >> (i >> 4)) + 1) >> 1)
    return { weight, plane: Uint8Array.from(weight, (w) => (w + 32) >> 6), unit: 64 }
  }
  const last = 2 ** table.lutBits - 1
  const weight = Uint16Array.from({ length: last + 1 }, (_, i) =>
    Math.floor(255 * Math.exp((-table.clip * i) / last) + 0.5),
  )
  weight[0] = 255
  weight[last] = 0
  return { weight, plane: Uint8Array.from(weight), unit: 1 }
}

export function tableIndex(distance: number, { shift, threshold, multiplier, weightShift }: IndexParameters): number {
  const shifted = Math.min(Math.floor(distance * 2 ** -shift), threshold)
  return (((shifted * multiplier) >> 15) + 2 ** (weightShift - 16)) >> (weightShift - 15)
}

/** Where the results of IndexSoftmax go, [rows, cols] or [rows]. Masked positions stay as they are. */
export interface IndexSoftmaxOutputs {
  probabilities: Uint8Array
  rowSum: Uint32Array
  lost: Int32Array
  indices?: Uint8Array
  weight?: Uint16Array
  plane?: Uint8Array
  normalized?: Uint8Array
}

/** One row, columns [start, start + cols) of the outputs. */
export function indexSoftmaxRow(
  scores: Int32Array,
  { row, start, cols, isValid }: { row: number; start: number; cols: number; isValid: (column: number) => boolean },
  parameters: IndexParameters,
  table: WeightTable,
  normalization: Normalization,
  out: IndexSoftmaxOutputs,
): void {
  let rowMax = Number.NEGATIVE_INFINITY
  for (let j = 0; j < cols; j++) if (isValid(j)) rowMax = Math.max(rowMax, scores[start + j]!)

  const indices = new Uint8Array(cols)
  let rowSum = 0
  let planeSum = 0
  for (let j = 0; j < cols; j++) {
    if (!isValid(j)) continue
    indices[j] = tableIndex(rowMax - scores[start + j]!, parameters)
    rowSum += table.weight[indices[j]!]!
    planeSum += table.plane[indices[j]!]!
  }
  out.rowSum[row] = rowSum
  out.lost[row] = rowSum - table.unit * planeSum

  for (let j = 0; j < cols; j++) {
    if (!isValid(j)) continue
    const weight = table.weight[indices[j]!]!
    const plane = table.plane[indices[j]!]!
    const normalized = Math.floor((510 * weight + rowSum) / (2 * rowSum))
    out.probabilities[start + j] = normalization === 'integer' ? normalized : plane
    if (out.indices) out.indices[start + j] = indices[j]!
    if (out.weight) out.weight[start + j] = weight
    if (out.plane) out.plane[start + j] = plane
    if (out.normalized) out.normalized[start + j] = normalized
  }
}
