import type { ResolvedCacheOptions } from '../../cache/options.js'
import { countOf, type SavedCache, savedRows, writeSaved } from '../../cache/saved.js'
import { type CacheStore, segmentLength } from '../../cache/store.js'
import type { CheckedTensor } from '../../checks/tensors.js'
import type { CachedRows } from '../../types.js'
import { type Operand, rowsOf } from './operands.js'
import { integerScale } from './quantize-row.js'
import { unusable } from './unusable-rows.js'

/** One token of one KV head. */
interface Row {
  integers: Int8Array
  scale: number
}

interface Side {
  dim: number
  /** [kvHeads][length] */
  rows: Row[][]
}

/** Rows as they are, one by one: section 4 of the numeric specification, for tests and study. */
export class ReferenceStore implements CacheStore {
  readonly #options: ResolvedCacheOptions
  readonly key: Side
  readonly value: Side
  readonly #freed = new Set<number>()
  #window = 0

  constructor(options: ResolvedCacheOptions, saved?: { bytes: Uint8Array; header: SavedCache }) {
    this.#options = options
    const empty = () => Array.from({ length: options.kvHeads }, (): Row[] => [])
    this.key = { dim: options.headDim, rows: empty() }
    this.value = { dim: options.valueDim, rows: empty() }
    if (saved) this.#restore(saved.bytes, saved.header)
  }

  get length(): number {
    return this.key.rows[0]!.length
  }

  get bytes(): number {
    const { kvHeads, headDim, valueDim } = this.#options
    return this.length * kvHeads * (headDim + valueDim + 8)
  }

  append(key: CheckedTensor, value: CheckedTensor): void {
    const operands = [rowsOf(key, this.#options, 'key'), rowsOf(value, this.#options, 'value')] as const
    for (const operand of operands) {
      const bad = operand.scale.findIndex(Number.isNaN)
      if (bad >= 0) unusable(operand, bad)
    }
    push(this.key, operands[0])
    push(this.value, operands[1])
  }

  truncate(length: number): void {
    for (const { rows } of [this.key, this.value]) for (const ofHead of rows) ofHead.length = length
    for (const segment of this.#freed) if (segment * segmentLength >= length) this.#freed.delete(segment)
  }

  fork(): ReferenceStore {
    const forked = new ReferenceStore(this.#options)
    for (const side of ['key', 'value'] as const) {
      for (const [head, rows] of this[side].rows.entries()) forked[side].rows[head] = [...rows]
    }
    for (const segment of this.#freed) forked.#freed.add(segment)
    forked.#window = this.#window
    return forked
  }

  reserve(): void {}

  /** Only notes what is gone. */
  release(window: number, keepFirst: number): void {
    for (let segment = 0; (segment + 1) * segmentLength <= this.length - window; segment++) {
      if (segment * segmentLength < keepFirst || this.#freed.has(segment)) continue
      this.#freed.add(segment)
      this.#window = Math.max(this.#window, window)
    }
  }

  read(first: number, to: CachedRows, count: number): void {
    for (let head = 0; head < this.#options.kvHeads; head++) {
      for (let i = 0; i < count; i++) {
        const at = head * count + i
        const [key, value] = [this.key.rows[head]![first + i]!, this.value.rows[head]![first + i]!]
        to.key.set(key.integers, at * this.key.dim)
        to.value.set(value.integers, at * this.value.dim)
        to.keyScale[at] = key.scale
        const { mantissa, exponent } = integerScale(value.scale)
        to.valueScale[at] = exponent === undefined ? 0 : mantissa * 2 ** (exponent - 15)
      }
    }
  }

  save(): Uint8Array {
    const saved = { options: this.#options, length: this.length, window: this.#window, freed: this.#freed }
    const { kvHeads, headDim, valueDim } = this.#options
    return writeSaved(saved, (first, count) => {
      const rows = {
        key: new Int8Array(kvHeads * count * headDim),
        value: new Int8Array(kvHeads * count * valueDim),
        keyScale: new Float32Array(kvHeads * count),
        valueScale: new Float32Array(kvHeads * count),
      }
      this.read(first, rows, count)
      return rows
    })
  }

  dispose(): void {}

  #restore(bytes: Uint8Array, header: SavedCache): void {
    const { kvHeads } = this.#options
    const nothing = (dim: number): Row => ({ integers: new Int8Array(dim), scale: 0 })
    for (const side of [this.key, this.value]) {
      for (const rows of side.rows) for (let j = 0; j < header.length; j++) rows.push(nothing(side.dim))
    }
    for (const rows of savedRows(bytes, header)) {
      for (let head = 0; head < kvHeads; head++) {
        for (let i = 0; i < countOf(rows.first / segmentLength, header.length); i++) {
          const at = head * rows.count + i
          const row = (integers: Int8Array, scale: Float32Array, dim: number): Row => ({
            integers: integers.slice(at * dim, (at + 1) * dim),
            scale: scale[at]!,
          })
          this.key.rows[head]![rows.first + i] = row(rows.key, rows.keyScale, this.key.dim)
          this.value.rows[head]![rows.first + i] = row(rows.value, rows.valueScale, this.value.dim)
        }
      }
    }
    for (const segment of header.freed) this.#freed.add(segment)
    this.#window = header.window
  }
}

function push({ dim, rows }: Side, { tensor, integers, scale }: Operand): void {
  const [, , count] = tensor.dims
  for (const [head, ofHead] of rows.entries()) {
    for (let i = head * count; i < (head + 1) * count; i++) {
      ofHead.push({ integers: Int8Array.from(integers.subarray(i * dim, (i + 1) * dim)), scale: scale[i]! })
    }
  }
}
