import { roundTiesToEven } from '../../float16.js'

/** Widths of quantized rows. */
export type Bits = 15 | 8 | 7 | 4

/** Greatest integer; section 3 of the numeric specification. */
const tops: Record<Bits, number> = { 15: 16256, 8: 127, 7: 63, 4: 127 }

/** Magnitudes that 4 bits can hold, each with the greatest 8-bit magnitude that becomes it. */
const levels: readonly (readonly [most: number, level: number])[] = [
  [12, 6],
  [24, 18],
  [37, 31],
  [51, 44],
  [67, 59],
  [85, 75],
  [108, 95],
  [127, 121],
]

/**
 * Quantizes a row by its greatest magnitude.
 *
 * @returns the scale: 0 for a row of magnitudes below 2^-60; NaN for one with NaN, infinity or a magnitude from 2^40 on, whose integers
 * mean nothing
 */
export function quantizeRow(row: Float32Array, bits: Bits, integers: Int8Array | Int16Array): number {
  let greatest = 0
  for (const x of row) {
    if (!(Math.abs(x) < 2 ** 40)) return Number.NaN
    greatest = Math.max(greatest, Math.abs(x))
  }
  if (greatest < 2 ** -60) {
    integers.fill(0)
    return 0
  }
  const top = tops[bits]
  const inverse = Math.fround(top / greatest)
  for (let c = 0; c < row.length; c++) {
    const q = Math.max(-top, Math.min(top, roundTiesToEven(Math.fround(row[c]! * inverse))))
    integers[c] = bits === 4 ? nearestLevel(q) : q
  }
  return Math.fround(greatest / top)
}

function nearestLevel(q: number): number {
  const [, level] = levels.find(([most]) => Math.abs(q) <= most)!
  return q < 0 ? -level : level
}

/** Whether rows may have this scale when they come quantized. */
export const isScale = (scale: number): boolean => scale === 0 || (scale >= 2 ** -74 && scale < 2 ** 35)

/** A value row's scale as mantissa * 2^(exponent - 15). */
export interface IntegerScale {
  /** g: 15 bits; 0 for a scale of 0 */
  mantissa: number
  /** z; undefined for a scale of 0 */
  exponent: number | undefined
}

export function integerScale(scale: number): IntegerScale {
  if (scale === 0) return { mantissa: 0, exponent: undefined }
  const exponent = binaryExponent(scale)
  return { mantissa: Math.min(Math.floor(scale * 2 ** (15 - exponent) + 0.5), 32767), exponent }
}

const view = new DataView(new ArrayBuffer(8))

/** e with 0.5 <= x / 2^e < 1 of a positive number. */
function binaryExponent(x: number): number {
  view.setFloat64(0, x)
  return ((view.getUint16(0) >>> 4) & 0x7ff) - 1022
}
