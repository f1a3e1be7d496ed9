import { CacheState, register } from './cache/cache-state.js'
import { NativeStore } from './cache/native-store.js'
import {
  placeNames,
  type ResolvedCacheOptions,
  readCacheOptions,
  requireCacheEngine,
  resolveCacheOptions,
  resolveThreads,
} from './cache/options.js'
import { readHeader, type SavedCache } from './cache/saved.js'
import { type CacheStore, maxCachedKeys } from './cache/store.js'
import { arrayName, fixedView } from './checks/buffers.js'
import { fail, failWith, integer, record, type Snapshot } from './checks/checks.js'
import { allocate, checkTensor, requireDims, withRowScale } from './checks/tensors.js'
import { chooseEngine, chosenEngineName, type Engine } from './engines.js'
import { visibilityLimit } from './options/common-options.js'
import { ReferenceStore } from './reference/version-2/cache-store.js'
import type {
  CachedRows,
  CacheInputs,
  EngineName,
  InstructionSet,
  KvCacheOptions,
  KvCachePlace,
  TensorType,
} from './types.js'

const rowTypes: readonly TensorType[] = ['float32', 'float16', 'bfloat16', 'int8']

/**
 * Quantized keys and values of one sequence, for models that generate token by token: each is quantized once, when it is appended, and
 * read where it lies by every run over the cache. What a row becomes depends on nothing but itself, so a prompt may come in one piece, in
 * chunks or token by token: results are the same to the bit, and those of whole keys and values without means.
 *
 * A run over a cache takes one for each batch item, of any lengths ({@link CachedInputs.cache}).
 *
 * @example
 * ```ts
 * const cache = new KvCache({ kvHeads: 3, headDim: 64 })
 * cache.append({ key, value }) // the prompt, then token by token
 * const { output } = await attention.run({ query, cache })
 * ```
 */
export class KvCache {
  /** The options with every default settled. */
  readonly options: ResolvedCacheOptions
  readonly engine: EngineName
  /** Of the native engine; undefined with the reference engine. */
  readonly isa: InstructionSet | undefined
  readonly #state: CacheState

  /** @throws {@link IntAttnError} for a bad option or an engine that cannot run here */
  constructor(options: KvCacheOptions)
  /** @internal */
  constructor(options: undefined, state: CacheState)
  constructor(options: KvCacheOptions | undefined, state?: CacheState) {
    this.#state = state ?? created(options)
    this.options = this.#state.options
    this.engine = this.#state.engine
    this.isa = this.#state.isa
    register(this, this.#state)
  }

  /**
   * A cache that was saved, on any engine and instruction set.
   *
   * @throws {@link IntAttnError} `INVALID_ARGUMENT` for bytes that {@link KvCache.save} did not write, or that have changed since
   */
  static load(bytes: Uint8Array, place: KvCachePlace = {}): KvCache {
    if (arrayName(bytes) !== 'Uint8Array') fail('INVALID_ARGUMENT', 'bytes', 'a Uint8Array', bytes)
    const asked = record(place, 'options', placeNames)
    const copy = new Uint8Array(fixedView(bytes) as Uint8Array)
    const header = readHeader(copy)
    return new KvCache(undefined, stateOn(asked, header.options, { bytes: copy, header }))
  }

  /** Keys, and values, that are in it; those that were freed count. */
  get length(): number {
    this.#state.requireLive()
    return this.#state.store.length
  }

  /** Of memory, shared pages included; 0 once disposed. */
  get bytes(): number {
    return this.#state.isDisposed ? 0 : this.#state.store.bytes
  }

  /**
   * Adds rows behind those that are there, on the calling thread and the shared ones: all or, when it throws, none.
   *
   * @throws {@link IntAttnError}: `NON_FINITE` for what no row may hold, `BUSY` while a run over this cache is under way
   */
  append(rows: CacheInputs): void {
    const { key, value } = record(rows, 'rows', ['key', 'value'])
    const { kvHeads, headDim, valueDim, keyBits, valueBits } = this.options
    this.#state.requireIdle()
    const keys = checkTensor(key, 'key', keyBits === 4 ? rowTypes.slice(0, 3) : rowTypes)
    const room = maxCachedKeys - this.#state.store.length
    const count = integer(keys.dims[2], 'key.dims[2]', 1, room)
    requireDims(keys, [1, kvHeads, count, headDim])
    const values = checkTensor(value, 'value', valueBits === 4 ? rowTypes.slice(0, 3) : rowTypes)
    requireDims(values, [1, kvHeads, count, valueDim])
    this.#state.requireIdle() // getters may have begun a run
    this.#state.store.append(withRowScale(keys), withRowScale(values))
  }

  /** Drops the rows from `length` on. Refused where the row before would see keys that {@link KvCache.release} freed. */
  truncate(length: number): void {
    this.#state.requireIdle()
    this.#state.truncate(integer(length, 'length', 0, this.#state.store.length))
  }

  /** A second cache with the same rows, which share their memory until one of the two changes them. */
  fork(): KvCache {
    const { options, engine, isa, store, freed, window } = this.#state
    this.#state.requireLive()
    return new KvCache(undefined, new CacheState({ options, engine, isa }, store.fork(), { freed, window }))
  }

  /** Takes memory for so many keys altogether. */
  reserve(keys: number): void {
    this.#state.requireIdle()
    this.#state.store.reserve(integer(keys, 'keys', 0, maxCachedKeys))
  }

  /**
   * Gives back memory of keys that no query from the last position on sees any more: those before `window` and from `keepFirst` on, 1024
   * at a time. Indices stay as they are; a run that would see such a key is refused.
   */
  release(hidden: { window: number; keepFirst?: number }): void {
    const { window, keepFirst = 0 } = record(hidden, 'hidden', ['window', 'keepFirst'])
    this.#state.requireIdle()
    this.#state.release(
      integer(window, 'window', 1, visibilityLimit),
      integer(keepFirst, 'keepFirst', 0, visibilityLimit),
    )
  }

  /** Copies of rows [first, first + count), none of them freed; default: all. */
  read(first = 0, count = this.length - first): CachedRows {
    this.#state.requireLive()
    const { kvHeads, headDim, valueDim } = this.options
    const from = integer(first, 'first', 0, this.length)
    const rows = integer(count, 'count', 0, this.length - from)
    if (!this.#state.holds(from, from + rows)) {
      failWith('INVALID_ARGUMENT', 'first', 'rows that were not freed', `${rows} from ${from} on`)
    }
    const make = <T>(create: new (length: number) => T, length: number) => allocate(create, length, 'rows')
    const copies = {
      key: make(Int8Array, kvHeads * rows * headDim),
      value: make(Int8Array, kvHeads * rows * valueDim),
      keyScale: make(Float32Array, kvHeads * rows),
      valueScale: make(Float32Array, kvHeads * rows),
    }
    this.#state.store.read(from, copies, rows)
    return copies
  }

  /** The cache as bytes, the same on every engine and instruction set. */
  save(): Uint8Array {
    this.#state.requireLive()
    return this.#state.store.save()
  }

  /** Frees it, after the runs under way have completed. May be called again. */
  dispose(): void {
    this.#state.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

function created(given: KvCacheOptions | undefined): CacheState {
  const asked = readCacheOptions(given)
  return stateOn(asked, resolveCacheOptions(asked))
}

interface Saved {
  bytes: Uint8Array
  header: SavedCache
}

function stateOn(asked: Snapshot, options: ResolvedCacheOptions, saved?: Saved): CacheState {
  const threads = resolveThreads(asked)
  requireCacheEngine(chosenEngineName(asked.engine), asked.engine)
  const engine = chooseEngine(asked.engine, asked.isa)
  const isa = engine.name === 'native' ? engine.isa : undefined
  return new CacheState({ options, engine: engine.name, isa }, storeOn(engine, threads, options, saved), saved?.header)
}

function storeOn(engine: Engine, threads: number, options: ResolvedCacheOptions, saved?: Saved): CacheStore {
  return engine.name === 'native'
    ? new NativeStore({ addon: engine.addon, isa: engine.isa, threads }, options, saved?.bytes)
    : new ReferenceStore(options, saved)
}
