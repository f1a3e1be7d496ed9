import { failWith } from '../checks/checks.js'
import type { EngineName, InstructionSet } from '../types.js'
import type { ResolvedCacheOptions } from './options.js'
import { keptSegments } from './saved.js'
import { type CacheStore, segmentLength } from './store.js'

/** What a `KvCache` is, for the parts of this package that use it. */
export class CacheState {
  readonly options: ResolvedCacheOptions
  readonly engine: EngineName
  readonly isa: InstructionSet | undefined
  readonly store: CacheStore
  /** Segments that were freed, and the widest window whose hidden keys they had. */
  readonly freed: Set<number>
  window: number
  #runs = 0
  #disposed = false

  constructor(
    { options, engine, isa }: Pick<CacheState, 'options' | 'engine' | 'isa'>,
    store: CacheStore,
    { freed, window }: { freed: ReadonlySet<number>; window: number } = { freed: new Set(), window: 0 },
  ) {
    this.options = options
    this.engine = engine
    this.isa = isa
    this.store = store
    this.freed = new Set(freed)
    this.window = window
  }

  /** A run begins: until it ends, nothing changes the cache. */
  hold(): void {
    this.#runs++
  }

  letGo(): void {
    this.#runs--
    this.#freeIfDone()
  }

  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#freeIfDone()
  }

  requireLive(argument = 'cache'): void {
    if (this.#disposed) failWith('DISPOSED', argument, 'a cache that is still in use', 'one that was disposed')
  }

  requireIdle(): void {
    this.requireLive()
    if (this.#runs > 0) failWith('BUSY', 'cache', 'no run under way over it', `${this.#runs} pending`)
  }

  get isDisposed(): boolean {
    return this.#disposed
  }

  /** Whether keys [begin, end) are all there. */
  holds(begin: number, end: number): boolean {
    for (let segment = Math.floor(begin / segmentLength); segment * segmentLength < end; segment++) {
      if (this.freed.has(segment)) return false
    }
    return true
  }

  truncate(length: number): void {
    if (this.window > 0 && !this.holds(Math.max(0, length - this.window), length)) {
      failWith('INVALID_ARGUMENT', 'length', 'rows the last of which sees no key that was freed', `${length}`)
    }
    this.store.truncate(length)
    for (const segment of this.freed) if (segment * segmentLength >= length) this.freed.delete(segment)
  }

  release(window: number, keepFirst: number): void {
    const { store, freed } = this
    store.release(window, keepFirst)
    for (const segment of keptSegments({ length: store.length, freed })) {
      if ((segment + 1) * segmentLength > store.length - window || segment * segmentLength < keepFirst) continue
      freed.add(segment)
      this.window = Math.max(this.window, window)
    }
  }

  #freeIfDone(): void {
    if (this.#disposed && this.#runs === 0) this.store.dispose()
  }
}

const states = new WeakMap<object, CacheState>()

export const register = (cache: object, state: CacheState): void => {
  states.set(cache, state)
}

/** The state of a `KvCache`; undefined for anything else. */
export const stateOf = (cache: unknown): CacheState | undefined =>
  typeof cache === 'object' && cache !== null ? states.get(cache) : undefined
