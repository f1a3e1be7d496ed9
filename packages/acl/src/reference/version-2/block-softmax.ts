import { roundTiesToEven } from '../../float16.js'
import { blockLength } from '../../sessions/intermediates.js'
import type { IntegerScale } from './quantize-row.js'

/** One row of scores in 1/1024 octave. */
export interface ScoreRow {
  /** -infinity where not visible */
  x: Float32Array
  /** Of the value rows. */
  valueScales: readonly IntegerScale[]
  /** Of a logit without a key, likewise; -infinity for none. */
  sink: number
  planeBits: 8 | 7 | 14
}

/** One block of keys; arrays hold its keys only. */
export interface Block {
  /** Where it begins. */
  start: number
  distance: Uint16Array
  weight: Uint16Array
  /** E; undefined for a dead block */
  exponent: number | undefined
  sum: number
  /** Z; undefined for a dead block, and where no visible value has a scale above 0 */
  valueExponent: number | undefined
  folded: Uint16Array
  shift: number
  plane: Uint16Array
}

/** The integers of a row; sections 5 and 6 of the numeric specification. */
export interface BlockSoftmax {
  /** The greatest x, sink included; -infinity when no key is visible. */
  max: number
  blocks: Block[]
  /** In units of 2^-31 */
  rowSum: bigint
}

/** Distances are kept to 16 bits. */
const farthest = 65535
/** Octaves below the maximum from which on a block counts no more. */
const deadFrom = 32

export function blockSoftmax({ x, valueScales, sink, planeBits }: ScoreRow): BlockSoftmax {
  const hasKey = x.some((value) => value > Number.NEGATIVE_INFINITY)
  const max = hasKey ? x.reduce((most, value) => Math.max(most, value), sink) : Number.NEGATIVE_INFINITY
  const blocks: Block[] = []
  let rowSum = 0n
  for (let start = 0; start < x.length; start += blockLength) {
    const end = Math.min(start + blockLength, x.length)
    const block = softmaxOfBlock(x.subarray(start, end), start, max, valueScales, planeBits)
    if (block.exponent !== undefined) rowSum += BigInt(block.sum) << BigInt(31 - block.exponent)
    blocks.push(block)
  }
  if (hasKey && sink > Number.NEGATIVE_INFINITY) rowSum += sinkWeight(distanceBelow(max, sink))
  return { max, blocks, rowSum }
}

function softmaxOfBlock(
  x: Float32Array,
  start: number,
  max: number,
  valueScales: readonly IntegerScale[],
  planeBits: number,
): Block {
  const isVisible = (j: number) => x[j]! > Number.NEGATIVE_INFINITY
  const distance = Uint16Array.from(x, (value, j) => (isVisible(j) ? distanceBelow(max, value) : farthest))
  const block: Block = {
    start,
    distance,
    weight: new Uint16Array(x.length),
    exponent: undefined,
    sum: 0,
    valueExponent: undefined,
    folded: new Uint16Array(x.length),
    shift: 0,
    plane: new Uint16Array(x.length),
  }
  const exponent = distance.reduce((least, d) => Math.min(least, d), farthest) >> 10
  if (exponent >= deadFrom) return block
  block.exponent = exponent

  for (let j = 0; j < x.length; j++) {
    if (!isVisible(j)) continue
    block.weight[j] = weightBelow(distance[j]!, exponent)
    block.sum += block.weight[j]!
    const { exponent: z } = valueScales[start + j]!
    if (z !== undefined) block.valueExponent = Math.max(block.valueExponent ?? z, z)
  }
  const { valueExponent, weight, folded, plane } = block
  if (valueExponent === undefined) return block

  for (let j = 0; j < x.length; j++) {
    const { mantissa, exponent: z } = valueScales[start + j]!
    const aligned = z === undefined ? 0 : mantissa >> Math.min(valueExponent - z, 15)
    // A value that no visible key has may be larger than Z says; its weight is 0.
    folded[j] = weight[j] === 0 ? 0 : multiplyHigh(weight[j]!, aligned)
  }
  const bits = 32 - Math.clz32(folded.reduce((most, u) => Math.max(most, u), 0))
  block.shift = Math.max(0, bits - planeBits)
  const half = (1 << block.shift) >> 1
  for (let j = 0; j < x.length; j++) plane[j] = Math.min(2 ** planeBits - 1, (folded[j]! + half) >> block.shift)
  return block
}

/** d: 1/1024 octaves below the maximum. */
const distanceBelow = (max: number, x: number): number => roundTiesToEven(Math.min(Math.fround(max - x), farthest))

/** 2^-fraction of the distance, 32640 … 16366; within 0.23 %. */
export function mantissaOf(distance: number): number {
  const fraction = (distance & 1023) << 5
  return 32640 - multiplyHigh(fraction, 21948 - multiplyHigh(fraction, 5664))
}

/** w: 2^-distance with the block's exponent taken out, 14 bits. */
function weightBelow(distance: number, exponent: number): number {
  const octaves = Math.min((distance >> 10) - exponent, 15)
  return (mantissaOf(distance) + (1 << octaves)) >> (octaves + 1)
}

function sinkWeight(distance: number): bigint {
  const octaves = distance >> 10
  return octaves >= deadFrom ? 0n : BigInt((mantissaOf(distance) + 1) >> 1) << BigInt(31 - octaves)
}

/** The product of two 15-bit numbers, its upper half, rounded: `pmulhrsw`, `sqrdmulh`. */
const multiplyHigh = (a: number, b: number): number => (a * b + 16384) >> 15
