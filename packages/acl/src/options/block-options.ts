import { boolean, fail, failWith, oneOf, real, type Snapshot } from '../checks/checks.js'
import { checkList } from '../checks/tensors.js'
import { type CommonOptions, resolveMean } from './common-options.js'
import type { BlockPreset } from './presets.js'

/** What pipeline `int` of version 2 needs. */
export interface BlockOptions extends CommonOptions {
  readonly version: 2
  readonly preset: BlockPreset
  /** Unless a run has a mask, a bias or int8 keys and nobody asked for it. */
  readonly smoothKey: boolean
  /** Likewise, of values. */
  readonly centerValue: boolean
  readonly rotate: boolean
  readonly queryBits: 8 | 15
  readonly keyBits: 8 | 7 | 4
  readonly valueBits: 8 | 4
  readonly planeBits: 8 | 7 | 14
  /** [kvHeads, headDim], float32 */
  readonly keyOffset?: readonly number[]
  /** [kvHeads, valueDim], float32 */
  readonly valueOffset?: readonly number[]
}

/** The table of version 2 of the numeric specification. */
const presets = {
  precise: { queryBits: 8, keyBits: 8, valueBits: 8, planeBits: 8 },
  fast: { queryBits: 8, keyBits: 7, valueBits: 8, planeBits: 7 },
  compact: { queryBits: 8, keyBits: 8, valueBits: 4, planeBits: 8 },
  finest: { queryBits: 15, keyBits: 8, valueBits: 8, planeBits: 14 },
} as const

export const bitsOf = (preset: BlockPreset) => presets[preset]

/** Those that version 1 does not have. */
export const blockOptionNames = ['rotate', 'queryBits', 'keyBits', 'valueBits', 'planeBits', 'keyOffset', 'valueOffset']

export function resolveBlockOptions(options: Snapshot, preset: BlockPreset, common: CommonOptions): BlockOptions {
  const or = (name: string, byDefault: unknown) => (options[name] === undefined ? byDefault : options[name])
  const { kvHeads, headDim, valueDim, causal, window, softmaxScale, alibiSlopes } = common
  const defaults = presets[preset]
  const keyOffset = resolveOffset(options, 'keyOffset', 'smoothKey', kvHeads * headDim, '[kvHeads, headDim]')
  const valueOffset = resolveOffset(options, 'valueOffset', 'centerValue', kvHeads * valueDim, '[kvHeads, valueDim]')
  const allSeeAll = !causal && window === undefined && alibiSlopes === undefined
  return {
    ...common,
    version: 2,
    preset,
    softmaxScale: real(softmaxScale, 'softmaxScale', 2 ** -20, 2 ** 20),
    smoothKey: resolveMean(options, 'smoothKey', allSeeAll && !keyOffset),
    centerValue: resolveMean(options, 'centerValue', allSeeAll && !valueOffset),
    rotate: boolean(or('rotate', true), 'rotate'),
    queryBits: oneOf(or('queryBits', defaults.queryBits), 'queryBits', [8, 15]),
    keyBits: oneOf(or('keyBits', defaults.keyBits), 'keyBits', [8, 7, 4]),
    valueBits: oneOf(or('valueBits', defaults.valueBits), 'valueBits', [8, 4]),
    planeBits: oneOf(or('planeBits', defaults.planeBits), 'planeBits', [8, 7, 14]),
    ...(keyOffset && { keyOffset }),
    ...(valueOffset && { valueOffset }),
  }
}

function resolveOffset(
  options: Snapshot,
  name: 'keyOffset' | 'valueOffset',
  mean: 'smoothKey' | 'centerValue',
  count: number,
  because: string,
): readonly number[] | undefined {
  if (options[name] === undefined) return undefined
  const offset = checkList(options[name], name, { array: 'Float32Array', count, because, check: finite })
  if (options.sinks !== undefined) {
    failWith('INVALID_ARGUMENT', name, 'none beside sinks, against which it does not cancel', 'one')
  }
  if (options[mean] === true) failWith('INVALID_ARGUMENT', mean, `false beside ${name}`, 'true')
  return Object.freeze(offset)
}

/** A finite number as float32. */
export function finite(given: unknown, argument: string): number {
  const rounded = typeof given === 'number' ? Math.fround(given) : Number.NaN
  return Number.isFinite(rounded) ? rounded : fail('INVALID_ARGUMENT', argument, 'a finite float32', given)
}
