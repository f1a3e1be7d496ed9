import type { BlockOptions } from '../../options/block-options.js'
import { absent, blockLength } from '../../sessions/intermediates.js'
import type { Problem } from '../../sessions/problem.js'
import type { BlockIntermediates } from '../../types.js'
import { biasOf } from '../addends.js'
import { type Row, rows } from '../visibility.js'
import { type Block, type BlockSoftmax, blockSoftmax } from './block-softmax.js'
import { inUnits, logits, rowUnit } from './common-unit.js'
import { type Operand, type Operands, operandsOf } from './operands.js'
import { integerScale } from './quantize-row.js'
import { unrotate } from './rotation.js'
import { unusable } from './unusable-rows.js'

/** Blocks whose sums are added up by themselves first. */
const blocksPerSegment = 16

/** Pipeline `int` of version 2 of the numeric specification, to the bit. */
export function blockAttention(options: BlockOptions, problem: Problem): Float32Array {
  const { softmaxScale, sinks, alibiSlopes, valueDim, planeBits } = options
  const { keyLength, logSumExp } = problem
  const operands = operandsOf(options, problem)
  const { query, key, value } = operands
  const badQuery = query.scale.findIndex(Number.isNaN)
  if (badQuery >= 0) unusable(query, badQuery)
  const valueScales = Array.from(value.scale, integerScale)
  const bias = biasOf(problem)
  const intermediates = problem.intermediates?.version === 2 ? problem.intermediates : undefined
  if (intermediates) reportOperands(intermediates, operands)

  const output = new Float32Array(problem.output.data.length)
  for (const row of rows(options, problem)) {
    const firstKey = row.kvHead * keyLength
    for (const operand of [key, value]) {
      const bad = row.keys.find((j) => Number.isNaN(operand.scale[firstKey + j]!))
      if (bad !== undefined) unusable(operand, firstKey + bad)
    }
    const unit = rowUnit(query.scale[row.row]!, softmaxScale, query.rotationBlock)
    const x = new Float32Array(keyLength).fill(Number.NEGATIVE_INFINITY)
    for (const j of row.keys) {
      const addends = { slope: alibiSlopes?.[row.head], offset: j - row.position, bias: bias?.(row, j) }
      x[j] = inUnits(score(query, key, row, j), key.scale[firstKey + j]!, unit, addends)
    }
    const softmax = blockSoftmax({
      x,
      valueScales: valueScales.slice(firstKey, firstKey + keyLength),
      sink: sinks ? logits(sinks[row.head]!) : Number.NEGATIVE_INFINITY,
      planeBits,
    })
    if (softmax.rowSum > 0n)
      outputRow(softmax, value, row.kvHead, output.subarray(row.row * valueDim, (row.row + 1) * valueDim))
    if (logSumExp) logSumExp[row.row] = logarithm(softmax)
    if (intermediates) {
      intermediates.unit[row.row] = unit
      for (let j = 0; j < row.present; j++) {
        intermediates.scores[row.row * keyLength + j] = score(query, key, row, j)
      }
      reportSoftmax(intermediates, row, keyLength, softmax)
    }
  }
  return output
}

function score(query: Operand, key: Operand, { row, kvHead }: Row, j: number): number {
  const [, , keyLength, headDim] = key.tensor.dims
  const [q, k] = [row * headDim, (kvHead * keyLength + j) * headDim]
  let sum = 0
  for (let c = 0; c < headDim; c++) sum += query.integers[q + c]! * key.integers[k + c]!
  return sum
}

/** Section 7: integers within a block, float32 over blocks and segments. */
function outputRow({ blocks, rowSum }: BlockSoftmax, value: Operand, kvHead: number, out: Float32Array): void {
  const segment = new Float32Array(out.length)
  for (const [index, block] of blocks.entries()) {
    addBlock(block, value, kvHead, segment)
    if ((index + 1) % blocksPerSegment !== 0 && index + 1 < blocks.length) continue
    for (let c = 0; c < out.length; c++) out[c]! += segment[c]!
    segment.fill(0)
  }
  const reciprocal = Math.fround(2 ** 31 / Number(rowSum))
  for (let c = 0; c < out.length; c++) out[c]! *= reciprocal
  unrotate(out, value.rotationBlock)
  for (let c = 0; c < out.length; c++) out[c]! += value.offset[kvHead * out.length + c]!
}

function addBlock(block: Block, value: Operand, kvHead: number, segment: Float32Array): void {
  const { start, plane, shift, exponent, valueExponent } = block
  if (exponent === undefined || valueExponent === undefined) return
  const [, , keyLength, valueDim] = value.tensor.dims
  const accumulator = new Float64Array(valueDim)
  for (let j = 0; j < plane.length; j++) {
    if (plane[j] === 0) continue
    const first = (kvHead * keyLength + start + j) * valueDim
    for (let c = 0; c < valueDim; c++) accumulator[c]! += plane[j]! * value.integers[first + c]!
  }
  const unit = 2 ** (shift - exponent + valueExponent)
  for (let c = 0; c < valueDim; c++) segment[c]! += Math.fround(accumulator[c]!) * unit
}

/** Of the sum of the exponentials of the logits; section 7. */
function logarithm({ max, rowSum }: BlockSoftmax): number {
  if (rowSum === 0n) return Number.NEGATIVE_INFINITY
  return Math.LN2 * (max / 1024 + Math.log2(Number(rowSum)) - 31 - Math.log2(16320))
}

function reportOperands(to: BlockIntermediates, { query, key, value }: Operands): void {
  to.queryInt.set(query.integers)
  to.keyInt8.set(key.integers)
  to.valueInt8.set(value.integers)
  to.queryScale.set(query.scale)
  to.keyScale.set(key.scale)
  to.valueScale.set(value.scale)
  to.keyOffset.set(key.offset)
  to.valueOffset.set(value.offset)
}

function reportSoftmax(
  to: BlockIntermediates,
  { row }: Row,
  keyLength: number,
  { blocks, rowSum }: BlockSoftmax,
): void {
  const firstBlock = row * Math.ceil(keyLength / blockLength)
  for (const [index, block] of blocks.entries()) {
    const [key, at] = [row * keyLength + block.start, firstBlock + index]
    to.distance.set(block.distance, key)
    to.weight.set(block.weight, key)
    to.folded.set(block.folded, key)
    to.plane.set(block.plane, key)
    to.blockExponent[at] = block.exponent ?? absent.blockExponent
    to.blockSum[at] = block.sum
    to.valueExponent[at] = block.valueExponent ?? absent.valueExponent
    to.shift[at] = block.shift
  }
  to.rowSum[row] = rowSum
}
