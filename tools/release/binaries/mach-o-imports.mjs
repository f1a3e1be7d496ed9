import { Cursor } from './cursor.mjs'

/** Where a symbol comes from: the place of a library among those that are loaded, from 1 on, or one of these. */
export const ordinals = { self: 0, executable: -1, dynamicLookup: -2, weakLookup: -3 }

/** Symbols and where they come from, each once for each of its places. */
export class Bindings {
  /** @type {Map<string, Set<number>>} */
  #ordinals = new Map()

  /** @param {string} name @param {number} ordinal */
  add(name, ordinal) {
    const ordinals = this.#ordinals.get(name)
    if (ordinals) ordinals.add(ordinal)
    else this.#ordinals.set(name, new Set([ordinal]))
  }

  /** @param {string} name */
  has(name) {
    return this.#ordinals.has(name)
  }

  get all() {
    return [...this.#ordinals].flatMap(([name, ordinals]) => [...ordinals].map((ordinal) => ({ name, ordinal })))
  }
}

const opcodes = {
  ...{ done: 0x00, ordinal: 0x10, ordinalUleb: 0x20, specialOrdinal: 0x30, symbol: 0x40, type: 0x50, addend: 0x60 },
  ...{ place: 0x70, addAddress: 0x80, bind: 0x90, bindAddAddress: 0xa0, bindScaled: 0xb0, bindRepeated: 0xc0 },
}

/**
 * What LC_DYLD_INFO tells dyld to bind.
 * @param {import('./bytes.mjs').Bytes} bytes opcodes
 * @param {'bind' | 'weak' | 'lazy'} kind
 * @param {Bindings} bindings
 */
export function readBindOpcodes(bytes, kind, bindings) {
  const cursor = new Cursor(bytes)
  let ordinal = kind === 'weak' ? ordinals.weakLookup : ordinals.self
  /** @type {string | undefined} */
  let name
  const bind = () => {
    if (name === undefined) throw bytes.problem('a symbol before it is bound', 'none')
    bindings.add(name, ordinal)
  }
  while (!cursor.atEnd) {
    const byte = cursor.u8()
    const immediate = byte & 15
    switch (byte & 0xf0) {
      case opcodes.done:
        // Of lazy ones, each ends so: dyld reads them one by one.
        if (kind !== 'lazy') return
        break
      case opcodes.ordinal:
        ordinal = immediate
        break
      case opcodes.ordinalUleb:
        ordinal = cursor.uleb()
        break
      case opcodes.specialOrdinal:
        ordinal = immediate && immediate - 16
        break
      case opcodes.symbol:
        name = cursor.text()
        break
      case opcodes.type:
        break
      case opcodes.addend:
      case opcodes.place:
      case opcodes.addAddress:
        cursor.uleb()
        break
      case opcodes.bind:
      case opcodes.bindScaled:
        bind()
        break
      case opcodes.bindAddAddress:
        bind()
        cursor.uleb()
        break
      case opcodes.bindRepeated:
        bind()
        cursor.uleb()
        cursor.uleb()
        break
      default:
        throw bytes.problem('an opcode of dyld', `0x${byte.toString(16)}`)
    }
  }
}

/** Size of an import and bits of its ordinal, by format. @type {Record<number, { size: number, bits: number }>} */
const importFormats = { 1: { size: 4, bits: 8 }, 2: { size: 8, bits: 8 }, 3: { size: 16, bits: 16 } }

/**
 * What LC_DYLD_CHAINED_FIXUPS tells dyld to bind.
 * @param {import('./bytes.mjs').Bytes} bytes
 * @param {Bindings} bindings
 */
export function readChainedImports(bytes, bindings) {
  const [version, start, names, count, format, compression] = [0, 8, 12, 16, 20, 24].map((at) => bytes.u32(at))
  if (version !== 0) throw bytes.problem('version 0', `${version}`)
  if (compression !== 0) throw bytes.problem('names that are not compressed (0)', `${compression}`)
  const found = importFormats[format]
  if (!found) throw bytes.problem('imports of format 1, 2 or 3', `${format}`)
  const { size, bits } = found
  const table = bytes.part('chained imports', start, count * size)
  const strings = bytes.part('names of chained imports', names)
  for (let at = 0; at < table.length; at += size) {
    const word = table.u32(at)
    const name = strings.text(bits === 8 ? word >>> 9 : table.u32(at + 4))
    const unsigned = word % 2 ** bits
    // The last 15 are the special ones.
    bindings.add(name, unsigned > 2 ** bits - 16 ? unsigned - 2 ** bits : unsigned)
  }
}
