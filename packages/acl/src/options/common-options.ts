import { boolean, fail, failWith, integer, real, type Snapshot } from '../checks/checks.js'
import { availableResources } from '../resources/resources.js'
import { type Addends, resolveAddends } from './addends.js'

/** Greatest number of values per head. */
export const maxHeadDim = 1024
export const maxHeads = 65536
export const maxThreads = 256
/** Of windows, and of keys that they never hide. */
export const visibilityLimit = 2 ** 31 - 1

/** Which keys a row sees, as far as it is the same for all runs. */
export interface VisibilityOptions {
  readonly causal: boolean
  readonly window?: number
  readonly keepFirst: number
}

/** What every pipeline has. */
export interface CommonOptions extends VisibilityOptions, Addends {
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly valueDim: number
  readonly softmaxScale: number
  readonly threads: number
}

export const visibilityNames = ['causal', 'window', 'keepFirst']
export const commonNames = [
  ...['heads', 'kvHeads', 'headDim', 'valueDim', ...visibilityNames, 'softmaxScale', 'alibiSlopes', 'sinks', 'threads'],
]

export function resolveCommon(options: Snapshot): CommonOptions {
  const or = (name: string, byDefault: unknown) => (options[name] === undefined ? byDefault : options[name])
  const { threads = defaultThreads() } = options
  const heads = integer(options.heads, 'heads', 1, maxHeads)
  const kvHeads = integer(or('kvHeads', heads), 'kvHeads', 1, maxHeads)
  if (heads % kvHeads !== 0) fail('SHAPE_MISMATCH', 'kvHeads', `a divisor of heads (${heads})`, kvHeads)
  const headDim = integer(options.headDim, 'headDim', 1, maxHeadDim)
  return {
    heads,
    kvHeads,
    headDim,
    valueDim: integer(or('valueDim', headDim), 'valueDim', 1, maxHeadDim),
    ...resolveVisibility(options),
    softmaxScale: resolveScale(options.softmaxScale, headDim),
    ...resolveAddends(options, heads),
    threads: integer(threads, 'threads', 1, maxThreads),
  }
}

export const defaultThreads = (): number => Math.min(availableResources().threads, maxThreads)

export function resolveVisibility({ causal = false, window, keepFirst = 0 }: Snapshot): VisibilityOptions {
  return {
    causal: boolean(causal, 'causal'),
    ...(window !== undefined && { window: integer(window, 'window', 1, visibilityLimit) }),
    keepFirst: integer(keepFirst, 'keepFirst', 0, visibilityLimit),
  }
}

export const resolveScale = (given: unknown, headDim: number): number =>
  real(given === undefined ? 1 / Math.sqrt(headDim) : given, 'softmaxScale', 1e-30, 1e30)

/** Whether the mean of the keys or values is to be subtracted, as far as options decide it. */
export function resolveMean(options: Snapshot, name: 'smoothKey' | 'centerValue', byDefault: boolean): boolean {
  if (options[name] === undefined) return byDefault && options.sinks === undefined
  const wanted = boolean(options[name], name)
  if (wanted && options.sinks !== undefined) {
    failWith('INVALID_ARGUMENT', name, 'false beside sinks, against which a mean does not cancel', 'true')
  }
  return wanted
}
