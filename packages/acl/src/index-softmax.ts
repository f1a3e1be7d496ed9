import { callAddon } from './addons/call.js'
import { normalizationCode, tableCode } from './addons/interface.js'
import { arrayName } from './checks/buffers.js'
import { integer, oneOf, real, record } from './checks/checks.js'
import { allocate, checkArray } from './checks/tensors.js'
import { chooseStepEngine } from './engines.js'
import { maxRowLength, type ResolvedTable, resolveTable, tableOptionNames } from './options/table.js'
import {
  type IndexParameters,
  type IndexSoftmaxOutputs,
  indexSoftmaxRow,
  indexParameters as parametersOf,
  weightTable as tableOf,
  type WeightTable,
} from './reference/index-softmax.js'
import type { InstructionSet, Normalization, StepEngineName, TableOptions } from './types.js'

const scaleRange = [1e-200, 1e200] as const

/** What {@link indexSoftmax} takes. */
export interface IndexSoftmaxOptions extends TableOptions {
  /** [rows, cols], any int32 */
  scores: Int32Array
  rows: number
  /** 1 … 263,172: a row sum must fit 32 bits. */
  cols: number
  /** What one unit of score is worth in the exponent, positive; one for all rows, or one per row. */
  logitScale: number | Float64Array
  /** Default `deferred`. */
  normalization?: Normalization
  /** [rows, cols], 0 = masked. Default: all valid. */
  valid?: Uint8Array
  /** As for {@link Attention}. */
  engine?: StepEngineName
  isa?: InstructionSet
}

/** What {@link indexSoftmax} gives. Masked positions are zero, and so are the sums of rows without a valid position. */
export interface IndexSoftmaxResult {
  /** [rows, cols]: the normalized P with `integer` normalization, the plane h when `deferred`. */
  probabilities: Uint8Array
  /** [rows]: sum of the weights W. */
  rowSum: Uint32Array
  /** [rows]: rowSum - u * sum of h, the mass that uint8 cannot hold. */
  lost: Int32Array
  /** [rows, cols]: table index, 255 where masked; reference engine only, as all below. */
  indices?: Uint8Array
  /** [rows, cols]: W */
  weight?: Uint16Array
  /** [rows, cols]: h */
  plane?: Uint8Array
  /** [rows, cols]: P */
  normalized?: Uint8Array
}

/**
 * Softmax of int32 scores in integers, sections 3 to 5 of the numeric specification; on the calling thread.
 *
 * @throws {@link IntAttnError}
 */
export function indexSoftmax(given: IndexSoftmaxOptions): IndexSoftmaxResult {
  const names = ['scores', 'rows', 'cols', 'logitScale', 'normalization', 'valid', 'engine', 'isa', ...tableOptionNames]
  const options = record(given, 'options', names)
  const rows = integer(options.rows, 'rows', 1, 2 ** 32 - 1)
  const cols = integer(options.cols, 'cols', 1, maxRowLength)
  const count = rows * cols
  const scores = checkArray(options.scores, 'scores', ['Int32Array'], count, 'rows * cols') as Int32Array
  const valid =
    options.valid === undefined
      ? undefined
      : (checkArray(options.valid, 'valid', ['Uint8Array'], count, 'rows * cols') as Uint8Array)
  const logitScale = checkLogitScale(options.logitScale, rows)
  const table = resolveTable(options, 'exp2')
  const wanted = options.normalization === undefined ? 'deferred' : options.normalization
  const normalization = oneOf(wanted, 'normalization', ['integer', 'deferred'])
  const engine = chooseStepEngine(options.engine, options.isa)

  const out = {
    probabilities: allocate(Uint8Array, count, 'scores'),
    rowSum: allocate(Uint32Array, rows, 'rows'),
    lost: allocate(Int32Array, rows, 'rows'),
  }
  if (engine.name === 'reference') {
    const all = {
      ...out,
      indices: allocate(Uint8Array, count, 'scores').fill(255),
      weight: allocate(Uint16Array, count, 'scores'),
      plane: allocate(Uint8Array, count, 'scores'),
      normalized: allocate(Uint8Array, count, 'scores'),
    }
    reference({ scores, rows, cols, logitScale, valid, table, normalization }, all)
    return all
  }
  const native = { ...tableCode(table), normalization: normalizationCode(normalization), isa: engine.isa }
  callAddon('inputs', () =>
    engine.addon.indexSoftmax(scores, cols, logitScale, valid, out.probabilities, out.rowSum, out.lost, native),
  )
  return out
}

/**
 * The integers that turn a distance from the row maximum into a table index, section 3 of the numeric specification.
 *
 * @throws {@link IntAttnError}
 */
export function indexParameters(options: TableOptions & { logitScale: number }): IndexParameters {
  const { logitScale, ...table } = record(options, 'options', ['logitScale', ...tableOptionNames])
  const [min, max] = scaleRange
  return parametersOf(resolveTable(table, 'exp2'), real(logitScale, 'logitScale', min, max))
}

/**
 * Weights by index, their 8-bit plane and its unit, section 4 of the numeric specification.
 *
 * @throws {@link IntAttnError}
 */
export function weightTable(options: TableOptions = {}): WeightTable {
  return tableOf(resolveTable(record(options, 'options', tableOptionNames), 'exp2'))
}

function checkLogitScale(given: unknown, rows: number): Float64Array {
  const [min, max] = scaleRange
  if (arrayName(given) === undefined) return Float64Array.of(real(given, 'logitScale', min, max))
  const scales = new Float64Array(
    checkArray(given, 'logitScale', ['Float64Array'], rows, 'one per row') as Float64Array,
  )
  for (let row = 0; row < rows; row++) real(scales[row], `logitScale[${row}]`, min, max)
  return scales
}

interface Rows {
  scores: Int32Array
  rows: number
  cols: number
  logitScale: Float64Array
  valid: Uint8Array | undefined
  table: ResolvedTable
  normalization: Normalization
}

function reference({ scores, rows, cols, logitScale, valid, table, normalization }: Rows, out: IndexSoftmaxOutputs) {
  const weights = tableOf(table)
  for (let row = 0; row < rows; row++) {
    const start = row * cols
    const parameters = parametersOf(table, logitScale[logitScale.length === 1 ? 0 : row]!)
    const isValid = (column: number) => valid === undefined || valid[start + column] !== 0
    indexSoftmaxRow(scores, { row, start, cols, isValid }, parameters, weights, normalization, out)
  }
}
