import { type CacheState, stateOf } from '../cache/cache-state.js'
import { fail, failWith, isArray, read, type Snapshot } from '../checks/checks.js'
import type { BlockOptions } from '../options/block-options.js'

/** Caches of a run, one per batch item, that fit the attention. */
export function checkCaches(options: BlockOptions, asked: Snapshot, given: unknown, batch: number): CacheState[] {
  const isList = isArray(given)
  const count = isList ? (read(given, 'length', 'cache') as number) : 1
  if (count !== batch) {
    failWith(
      'SHAPE_MISMATCH',
      'cache',
      `${batch === 1 ? 'one cache' : `${batch} caches`}, one per batch item`,
      `${count}`,
    )
  }
  return Array.from({ length: batch }, (_, item) => {
    const argument = isList ? `cache[${item}]` : 'cache'
    const state = stateOf(isList ? read(given, item, argument) : given)
    if (!state) return fail('INVALID_ARGUMENT', argument, 'a KvCache', isList ? read(given, item, argument) : given)
    state.requireLive(argument)
    requireFit(options, asked, state, argument)
    return state
  })
}

function requireFit(options: BlockOptions, asked: Snapshot, state: CacheState, argument: string): void {
  for (const name of ['kvHeads', 'headDim', 'valueDim', 'rotate', 'keyBits', 'valueBits'] as const) {
    if (state.options[name] === options[name]) continue
    const expected = `${options[name]}, as the attention has`
    failWith('SHAPE_MISMATCH', `${argument}.options.${name}`, expected, `${state.options[name]}`)
  }
  for (const name of ['keyOffset', 'valueOffset'] as const) {
    if (options[name]) failWith('UNKNOWN_OPTION', name, 'none beside a cache, which has its own', 'one')
    if (options.sinks && state.options[name]) {
      failWith(
        'INVALID_ARGUMENT',
        `${argument}.options.${name}`,
        'none beside sinks, against which it does not cancel',
        'one',
      )
    }
  }
  for (const name of ['smoothKey', 'centerValue'] as const) {
    if (asked[name] === true) fail('INVALID_ARGUMENT', name, 'false over a cache, which knows no mean', true)
  }
}

/** Whether the queries of an item see no key that was freed. */
export function requireHeld(
  { causal, window, keepFirst }: BlockOptions,
  cache: CacheState,
  start: number,
  queryLength: number,
  argument: string,
): void {
  if (cache.freed.size === 0) return
  const { length } = cache.store
  for (let query = 0; query < queryLength; query++) {
    const position = start + query
    const end = causal ? Math.min(length, position + 1) : length
    const begin = window === undefined ? 0 : Math.min(Math.max(0, position - window + 1), Math.max(end, 0))
    const kept = Math.min(keepFirst, begin)
    if ((begin >= end || cache.holds(begin, end)) && (kept === 0 || cache.holds(0, Math.min(kept, length)))) continue
    failWith('INVALID_ARGUMENT', argument, 'queries that see no key that was freed', `query ${query}, which does`)
  }
}

/** What engine and instruction set of an attention ask of the caches of a run. */
export function requireSameEngine(
  caches: readonly CacheState[] | undefined,
  { engine, isa }: Pick<CacheState, 'engine' | 'isa'>,
): void {
  for (const cache of caches ?? []) {
    if (cache.engine !== engine)
      failWith('INVALID_ARGUMENT', 'cache.engine', `'${engine}', as the attention's`, `'${cache.engine}'`)
    if (cache.isa !== isa) failWith('INVALID_ARGUMENT', 'cache.isa', `'${isa}', as the attention's`, `'${cache.isa}'`)
  }
}
