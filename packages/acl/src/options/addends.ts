import { fail } from '../checks/checks.js'
import { checkList } from '../checks/tensors.js'

/** What is added to the logits of a head, whatever the run. */
export interface Addends {
  /** [heads], float32 */
  readonly alibiSlopes?: readonly number[]
  /** [heads], float32 */
  readonly sinks?: readonly number[]
}

/** Private, frozen copies. */
export function resolveAddends(
  { alibiSlopes, sinks }: { alibiSlopes?: unknown; sinks?: unknown },
  heads: number,
): Addends {
  return {
    ...(alibiSlopes !== undefined && { alibiSlopes: perHead(alibiSlopes, 'alibiSlopes', heads, slope) }),
    ...(sinks !== undefined && { sinks: perHead(sinks, 'sinks', heads, extraLogit) }),
  }
}

/** Throws: the table of version 1 is indexed by integer scores alone. */
export function noAddend(name: string, preset: string, received: unknown): never {
  return fail(
    'UNKNOWN_OPTION',
    name,
    `no ${name} with preset '${preset}', whose table knows integer scores alone`,
    received,
  )
}

function perHead(
  given: unknown,
  argument: string,
  count: number,
  check: (element: unknown, argument: string) => number,
): readonly number[] {
  return Object.freeze(checkList(given, argument, { array: 'Float32Array', count, because: 'one per head', check }))
}

/** Magnitudes that keep scores finite whatever the positions. */
function slope(given: unknown, argument: string): number {
  const rounded = typeof given === 'number' ? Math.fround(given) : Number.NaN
  if (Math.abs(rounded) < 2 ** 60) return rounded
  return fail('INVALID_ARGUMENT', argument, 'a number between -2^60 and 2^60', given)
}

function extraLogit(given: unknown, argument: string): number {
  const rounded = typeof given === 'number' ? Math.fround(given) : Number.NaN
  if (rounded < 2 ** 100) return rounded
  return fail('INVALID_ARGUMENT', argument, 'a number below 2^100, or -Infinity for none', given)
}
