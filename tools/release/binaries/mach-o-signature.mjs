import { createHash } from 'node:crypto'

const magics = { superBlob: 0xfade0cc0, codeDirectory: 0xfade0c02 }
const slots = { codeDirectory: 0, alternateDirectories: 0x1000, externalSignature: 0x10000 }
const mostAlternateDirectories = 5
/** More than Apple has given a meaning to. */
const mostSpecialSlots = 32
const flags = { adHoc: 2, linkerSigned: 0x20000 }

/** By the number of the hash's type. @type {Record<number, { name: string, algorithm: string, size: number }>} */
const hashes = {
  1: { name: 'SHA-1', algorithm: 'sha1', size: 20 },
  2: { name: 'SHA-256', algorithm: 'sha256', size: 32 },
  3: { name: 'SHA-256 cut off', algorithm: 'sha256', size: 20 },
  4: { name: 'SHA-384', algorithm: 'sha384', size: 48 },
}

/** @typedef {import('./bytes.mjs').Bytes} Bytes */

/**
 * The parts of a signature by their slots.
 * @param {Bytes} signature
 */
function readBlobs(signature) {
  const [magic, length, count] = [signature.u32be(0), signature.u32be(4), signature.u32be(8)]
  if (magic !== magics.superBlob) throw signature.problem('an embedded signature', `0x${magic.toString(16)}`)
  const whole = signature.part('code signature', 0, length)
  const index = whole.part('index of the code signature', 12, 8 * count)
  /** @type {Map<number, Bytes>} */
  const blobs = new Map()
  for (let i = 0; i < count; i += 1) {
    const [slot, at] = [index.u32be(8 * i), index.u32be(8 * i + 4)]
    if (blobs.has(slot)) throw index.problem('every slot once', `slot ${slot} twice`)
    blobs.set(slot, whole.part(`slot ${slot} of the code signature`, at, whole.u32be(at + 4)))
  }
  return blobs
}

/**
 * @param {Bytes} directory
 * @param {Bytes} all the file
 * @param {Map<number, Bytes>} blobs
 */
function readDirectory(directory, all, blobs) {
  const [magic, , version, bits, hashesAt, identifierAt, specialCount, count] = [0, 4, 8, 12, 16, 20, 24, 28].map(
    (at) => directory.u32be(at),
  )
  if (magic !== magics.codeDirectory) throw directory.problem('a code directory', `0x${magic.toString(16)}`)
  const hash = hashes[directory.u8(37)]
  if (!hash) throw directory.problem('a hash of type 1 to 4', `${directory.u8(37)}`)
  if (directory.u8(36) !== hash.size)
    throw directory.problem(`${hash.size} bytes of ${hash.name}`, `${directory.u8(36)}`)
  if (specialCount > mostSpecialSlots)
    throw directory.problem(`hashes of at most ${mostSpecialSlots} slots`, `of ${specialCount}`)
  if (version >= 0x20100 && directory.u32be(44) !== 0) throw directory.problem('pages in their order', 'scattered ones')

  const codeLimit = (version >= 0x20300 && directory.u64be(56)) || directory.u32be(32)
  const code = all.part('signed bytes', 0, codeLimit)
  const pageSize = directory.u8(39) === 0 ? codeLimit : 2 ** directory.u8(39)
  const pages = Math.ceil(codeLimit / pageSize)
  if (count !== pages) throw directory.problem(`hashes of ${pages} pages`, `of ${count}`)
  const stored = directory.part('hashes of pages', hashesAt, count * hash.size)
  const special = directory.part('hashes of slots', hashesAt - specialCount * hash.size, specialCount * hash.size)

  /** @param {Bytes} bytes */
  const digest = (bytes) => bytes.digest(createHash(hash.algorithm)).subarray(0, hash.size)
  const changedPages = Array.from({ length: count }, (_, i) => i).filter((i) => {
    const page = code.part(`page ${i}`, i * pageSize, Math.min(pageSize, codeLimit - i * pageSize))
    return !stored.part(`hash of page ${i}`, i * hash.size, hash.size).equals(digest(page))
  })
  const changedSlots = Array.from({ length: specialCount }, (_, i) => i + 1).filter((slot) => {
    const blob = blobs.get(slot)
    const expected = blob ? digest(blob) : Buffer.alloc(hash.size)
    return !special.part(`hash of slot ${slot}`, (specialCount - slot) * hash.size, hash.size).equals(expected)
  })
  return {
    identifier: directory.text(identifierAt),
    hash: hash.name,
    adHoc: (bits & flags.adHoc) !== 0,
    linkerSigned: (bits & flags.linkerSigned) !== 0,
    ...{ codeLimit, pages, changedPages, changedSlots },
  }
}

/**
 * Reads a code signature and compares every hash in it with what it is of.
 * @param {Bytes} all the file
 * @param {number} at
 * @param {number} size
 */
export function readSignature(all, at, size) {
  const blobs = readBlobs(all.part('code signature', at, size))
  const alternates = Array.from({ length: mostAlternateDirectories }, (_, i) => slots.alternateDirectories + i)
  const directories = [slots.codeDirectory, ...alternates].flatMap((slot) => {
    const blob = blobs.get(slot)
    return blob ? [readDirectory(blob, all, blobs)] : []
  })
  const external = blobs.get(slots.externalSignature)
  return {
    ...{ offset: at, size },
    directories,
    adHoc: directories.length > 0 && directories.every((one) => one.adHoc) && (external?.length ?? 8) === 8,
  }
}
