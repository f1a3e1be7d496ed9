import type { CheckedTensor } from '../checks/tensors.js'
import type { CachedRows } from '../types.js'

/** Most keys of a sequence. */
export const maxCachedKeys = 2 ** 18
/** Keys whose memory comes and goes together. */
export const segmentLength = 1024

/** Rows of one sequence where an engine keeps them. Arguments are sound. */
export interface CacheStore {
  readonly length: number
  readonly bytes: number
  /** All rows or, when it throws, none. */
  append(key: CheckedTensor, value: CheckedTensor): void
  truncate(length: number): void
  fork(): CacheStore
  reserve(keys: number): void
  release(window: number, keepFirst: number): void
  read(first: number, rows: CachedRows, count: number): void
  /** See saved.ts. */
  save(): Uint8Array
  dispose(): void
}
