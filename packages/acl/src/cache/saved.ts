import { failWith } from '../checks/checks.js'
import type { CachedRows } from '../types.js'
import type { ResolvedCacheOptions } from './options.js'
import { maxCachedKeys, segmentLength } from './store.js'

// A cache as bytes, little-endian: a header of 56 bytes, a bit for every freed segment, offsets, then segment after segment the
// rows of K, the rows of V, the scales of K and those of V, [kvHeads, count] each; the kernels' saved.cc writes the same.

const magic = 'intattkv'
const formatVersion = 1
const headerBytes = 56
const digestAt = 48
const freedBytes = maxCachedKeys / segmentLength / 8

/** What saved bytes say. */
export interface SavedCache {
  options: ResolvedCacheOptions
  length: number
  /** The widest window whose hidden keys were freed; 0: none were. */
  window: number
  freed: Set<number>
}

/** FNV-1a of 64 bits over all but the digest. */
function digestOf(bytes: Uint8Array): bigint {
  // In two halves of 32 bits: a product by 2^40 + 0x1b3.
  let [high, low] = [0xcbf29ce4, 0x84222325]
  for (let i = 0; i < bytes.length; i++) {
    low = (low ^ (i >= digestAt && i < headerBytes ? 0 : bytes[i]!)) >>> 0
    const product = low * 0x1b3
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0
    low = product >>> 0
  }
  return (BigInt(high) << 32n) | BigInt(low)
}

const bytesOfRow = ({ kvHeads, headDim, valueDim }: ResolvedCacheOptions) => kvHeads * (headDim + valueDim + 8)

export const countOf = (segment: number, length: number): number =>
  Math.min(segmentLength, length - segment * segmentLength)

/** Segments of a length that were not freed. */
export function keptSegments({ length, freed }: Pick<SavedCache, 'length' | 'freed'>): number[] {
  const all = Array.from({ length: Math.ceil(length / segmentLength) }, (_, segment) => segment)
  return all.filter((segment) => !freed.has(segment))
}

/** @throws IntAttnError for bytes that are not a saved cache, or have changed */
export function readHeader(bytes: Uint8Array): SavedCache {
  const refuse = (received: string): never => failWith('INVALID_ARGUMENT', 'bytes', 'a saved cache', received)
  if (bytes.length < headerBytes + freedBytes) refuse(`${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (String.fromCharCode(...bytes.subarray(0, 8)) !== magic) refuse('other bytes')
  const version = view.getUint32(8, true)
  if (version !== formatVersion) refuse(`one in version ${version} of the format, not ${formatVersion}`)
  if (view.getBigUint64(digestAt, true) !== digestOf(bytes)) refuse('one that was changed or cut off')
  const [kvHeads, headDim, valueDim] = [12, 16, 20].map((at) => view.getUint32(at, true)) as [number, number, number]
  const [rotate, keyBits, valueBits, hasKeyOffset, hasValueOffset] = bytes.subarray(24, 29)
  const floats = (at: number, count: number) =>
    Object.freeze(Array.from({ length: count }, (_, i) => view.getFloat32(at + 4 * i, true)))
  const first = headerBytes + freedBytes
  const keyOffsets = hasKeyOffset ? kvHeads * headDim : 0
  const valueOffsets = hasValueOffset ? kvHeads * valueDim : 0
  if (first + 4 * (keyOffsets + valueOffsets) > bytes.length) refuse('one with less than its header says')
  const freed = new Set<number>()
  for (let segment = 0; segment < 8 * freedBytes; segment++) {
    if ((bytes[headerBytes + (segment >> 3)]! >> (segment & 7)) & 1) freed.add(segment)
  }
  return {
    options: Object.freeze({
      ...{ kvHeads, headDim, valueDim, rotate: rotate === 1 },
      keyBits: keyBits as 8 | 7 | 4,
      valueBits: valueBits as 8 | 4,
      ...(hasKeyOffset && { keyOffset: floats(first, keyOffsets) }),
      ...(hasValueOffset && { valueOffset: floats(first + 4 * keyOffsets, valueOffsets) }),
    }),
    length: Number(view.getBigUint64(32, true)),
    window: Number(view.getBigUint64(40, true)),
    freed,
  }
}

/** @param read rows of a segment */
export function writeSaved(saved: SavedCache, read: (first: number, count: number) => CachedRows): Uint8Array {
  const { options, length, window, freed } = saved
  const { kvHeads, headDim, valueDim, rotate, keyBits, valueBits, keyOffset, valueOffset } = options
  const segments = keptSegments(saved)
  const rows = segments.reduce((sum, segment) => sum + countOf(segment, length), 0)
  const offsets = [...(keyOffset ?? []), ...(valueOffset ?? [])]
  const bytes = new Uint8Array(headerBytes + freedBytes + 4 * offsets.length + rows * bytesOfRow(options))
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < 8; i++) bytes[i] = magic.charCodeAt(i)
  for (const [i, value] of [formatVersion, kvHeads, headDim, valueDim].entries()) view.setUint32(8 + 4 * i, value, true)
  bytes.set([rotate ? 1 : 0, keyBits, valueBits, keyOffset ? 1 : 0, valueOffset ? 1 : 0], 24)
  view.setBigUint64(32, BigInt(length), true)
  view.setBigUint64(40, BigInt(window), true)
  for (const segment of freed) bytes[headerBytes + (segment >> 3)]! |= 1 << (segment & 7)
  let at = headerBytes + freedBytes
  const put = (floats: Iterable<number>) => {
    for (const x of floats) {
      view.setFloat32(at, x, true)
      at += 4
    }
  }
  put(offsets)
  for (const segment of segments) {
    const { key, value, keyScale, valueScale } = read(segment * segmentLength, countOf(segment, length))
    for (const numbers of [key, value]) {
      bytes.set(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.length), at)
      at += numbers.length
    }
    put(keyScale)
    put(valueScale)
  }
  view.setBigUint64(digestAt, digestOf(bytes), true)
  return bytes
}

/** The rows of saved bytes, segment after segment. */
export function* savedRows(
  bytes: Uint8Array,
  saved: SavedCache,
): Generator<CachedRows & { first: number; count: number }> {
  const { options, length } = saved
  const { kvHeads, headDim, valueDim, keyOffset = [], valueOffset = [] } = options
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = headerBytes + freedBytes + 4 * (keyOffset.length + valueOffset.length)
  const kept = keptSegments(saved)
  const rows = kept.reduce((sum, segment) => sum + countOf(segment, length), 0)
  if (at + rows * bytesOfRow(options) !== bytes.length) {
    failWith('INVALID_ARGUMENT', 'bytes', 'a saved cache', 'one with other rows than its header says')
  }
  const integers = (count: number) => {
    const values = Int8Array.from(bytes.subarray(at, at + count))
    at += count
    return values
  }
  const floats = (count: number) => {
    const values = Float32Array.from({ length: count }, (_, i) => view.getFloat32(at + 4 * i, true))
    at += 4 * count
    return values
  }
  for (const segment of kept) {
    const count = countOf(segment, length)
    yield {
      ...{ first: segment * segmentLength, count },
      key: integers(kvHeads * count * headDim),
      value: integers(kvHeads * count * valueDim),
      keyScale: floats(kvHeads * count),
      valueScale: floats(kvHeads * count),
    }
  }
}
