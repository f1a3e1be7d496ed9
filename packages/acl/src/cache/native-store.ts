import { callAddon } from '../addons/call.js'
import { type Addon, elementTypeCode, type NativeCache, type Outcome, status } from '../addons/interface.js'
import { failWith } from '../checks/checks.js'
import { firstLine } from '../checks/describe.js'
import type { CheckedTensor } from '../checks/tensors.js'
import { float32List, nativeStrides } from '../sessions/native-masks.js'
import type { CachedRows, InstructionSet } from '../types.js'
import type { ResolvedCacheOptions } from './options.js'
import type { CacheStore } from './store.js'
import { unusableRow } from './unusable-row.js'

/** What a store is made with, beside what it holds. */
export interface NativePlace {
  addon: Addon
  isa: InstructionSet
  threads: number
}

/** Rows in pages of the native engine. */
export class NativeStore implements CacheStore {
  readonly #place: NativePlace
  readonly #options: ResolvedCacheOptions
  readonly cache: NativeCache

  /** @param saved bytes of a saved cache with these options, instead of an empty one */
  constructor(place: NativePlace, options: ResolvedCacheOptions, saved?: Uint8Array) {
    const { addon, isa, threads } = place
    this.#place = place
    this.#options = options
    const given = saved
      ? { saved, isa, threads }
      : {
          ...{ ...options, isa, threads },
          keyOffset: float32List(options.keyOffset),
          valueOffset: float32List(options.valueOffset),
        }
    this.cache = callAddon(saved ? 'bytes' : 'options', () => new addon.KvCache(given))
  }

  get length(): number {
    return this.cache.length()
  }

  get bytes(): number {
    return this.cache.bytes()
  }

  append(key: CheckedTensor, value: CheckedTensor): void {
    const outcome = callAddon('rows', () =>
      this.cache.append({
        count: key.dims[2],
        key: key.data,
        keyType: elementTypeCode(key.type),
        keyStrides: nativeStrides(key),
        keyScale: key.scale,
        value: value.data,
        valueType: elementTypeCode(value.type),
        valueStrides: nativeStrides(value),
        valueScale: value.scale,
      }),
    )
    if (outcome === status.nonFiniteKey) unusableRow(this.#options, key, 'key')
    if (outcome === status.nonFiniteValue) unusableRow(this.#options, value, 'value')
    requireDone(outcome)
  }

  truncate(length: number): void {
    requireDone(callAddon('length', () => this.cache.truncate(length)))
  }

  fork(): NativeStore {
    const forked = new NativeStore(this.#place, this.#options)
    requireDone(callAddon('cache', () => this.cache.fork(forked.cache)))
    return forked
  }

  reserve(keys: number): void {
    requireDone(callAddon('keys', () => this.cache.reserve(keys)))
  }

  release(window: number, keepFirst: number): void {
    requireDone(callAddon('window', () => this.cache.release(window, keepFirst)))
  }

  read(first: number, { key, value, keyScale, valueScale }: CachedRows, count: number): void {
    requireDone(callAddon('rows', () => this.cache.read(first, count, key, value, keyScale, valueScale)))
  }

  save(): Uint8Array {
    return callAddon('cache', () => this.cache.save())
  }

  dispose(): void {
    this.cache.dispose()
  }
}

function requireDone(outcome: Outcome): void {
  if (outcome === status.ok) return
  if (outcome === status.outOfMemory) failWith('OUT_OF_MEMORY', 'cache', 'memory for its rows', 'less')
  failWith(
    'ENGINE_FAILED',
    'cache',
    'what the kernels take',
    typeof outcome === 'string' ? firstLine(outcome) : `${outcome}`,
  )
}
