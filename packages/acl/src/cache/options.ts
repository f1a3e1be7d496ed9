import { boolean, fail, integer, oneOf, record, type Snapshot } from '../checks/checks.js'
import { checkList } from '../checks/tensors.js'
import { bitsOf, finite } from '../options/block-options.js'
import { defaultThreads, maxHeadDim, maxHeads, maxThreads } from '../options/common-options.js'
import { type BlockPreset, defaultPreset } from '../options/presets.js'
import { blockPresets } from '../types.js'

/** What a cache keeps, and how; every default settled. */
export interface ResolvedCacheOptions {
  readonly kvHeads: number
  readonly headDim: number
  readonly valueDim: number
  readonly rotate: boolean
  readonly keyBits: 8 | 7 | 4
  readonly valueBits: 8 | 4
  /** [kvHeads, headDim], float32 */
  readonly keyOffset?: readonly number[]
  /** [kvHeads, valueDim], float32 */
  readonly valueOffset?: readonly number[]
}

const ownNames = ['kvHeads', 'headDim', 'valueDim', 'rotate', 'keyBits', 'valueBits', 'keyOffset', 'valueOffset']
export const placeNames = ['engine', 'isa', 'threads']

export const readCacheOptions = (given: unknown): Snapshot =>
  record(given, 'options', ['preset', ...ownNames, ...placeNames])

export const resolveThreads = ({ threads = defaultThreads() }: Snapshot): number =>
  integer(threads, 'threads', 1, maxThreads)

export function resolveCacheOptions(options: Snapshot): ResolvedCacheOptions {
  const or = (name: string, byDefault: unknown) => (options[name] === undefined ? byDefault : options[name])
  const kvHeads = integer(options.kvHeads, 'kvHeads', 1, maxHeads)
  const headDim = integer(options.headDim, 'headDim', 1, maxHeadDim)
  const valueDim = integer(or('valueDim', headDim), 'valueDim', 1, maxHeadDim)
  const bits = bitsOf(oneOf(or('preset', defaultPreset), 'preset', blockPresets) as BlockPreset)
  const offset = (name: 'keyOffset' | 'valueOffset', count: number, because: string) =>
    options[name] === undefined
      ? undefined
      : Object.freeze(checkList(options[name], name, { array: 'Float32Array', count, because, check: finite }))
  const keyOffset = offset('keyOffset', kvHeads * headDim, '[kvHeads, headDim]')
  const valueOffset = offset('valueOffset', kvHeads * valueDim, '[kvHeads, valueDim]')
  return Object.freeze({
    kvHeads,
    headDim,
    valueDim,
    rotate: boolean(or('rotate', true), 'rotate'),
    keyBits: oneOf(or('keyBits', bits.keyBits), 'keyBits', [8, 7, 4]),
    valueBits: oneOf(or('valueBits', bits.valueBits), 'valueBits', [8, 4]),
    ...(keyOffset && { keyOffset }),
    ...(valueOffset && { valueOffset }),
  })
}

/** Caches are kept by engines that compute version 2. */
export function requireCacheEngine(engine: string, asked: unknown): void {
  if (engine === 'acl') fail('UNAVAILABLE', 'engine', "'native' or 'reference' for a cache", asked ?? engine)
}
