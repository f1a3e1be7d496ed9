/**
 * @typedef {object} Segment
 * @property {number} offset in the file
 * @property {number} address
 * @property {number} fileSize
 * @property {number} memorySize
 * @property {number} alignment
 * @property {boolean} writable
 * @property {boolean} executable
 */

/** The addresses that a binary is loaded to. */
export class Image {
  #all
  #segments

  /**
   * @param {import('./bytes.mjs').Bytes} all the file
   * @param {Segment[]} segments those that are loaded
   */
  constructor(all, segments) {
    this.#all = all
    this.#segments = segments
    let end = 0
    for (const { offset, address, fileSize, memorySize, alignment } of segments) {
      const { length } = all.part('a loaded segment', offset, fileSize)
      const headers = all.part('program headers', 0, 0)
      if (address < end)
        throw headers.problem('loaded segments one behind the other', `one at ${address} before ${end}`)
      if (memorySize < length) throw headers.problem(`${length} bytes of memory for a segment`, `${memorySize}`)
      if (!(alignment > 0) || (address - offset) % alignment !== 0)
        throw headers.problem('a segment to be aligned', `offset ${offset}, address ${address}, alignment ${alignment}`)
      end = address + memorySize
    }
  }

  /** @param {number} address */
  #segmentOf(address) {
    return this.#segments.find((one) => address >= one.address && address < one.address + one.memorySize)
  }

  /**
   * What the file has for an address.
   * @param {string} name
   * @param {number} address
   * @param {number} [length] without it, all that is left of the segment
   */
  at(name, address, length) {
    const segment = this.#segmentOf(address)
    if (!segment) throw this.#all.part(name, 0, 0).problem('an address that is loaded', `0x${address.toString(16)}`)
    return this.#all.part(name, segment.offset, segment.fileSize).part(name, address - segment.address, length)
  }

  /** Whether the loader may write to an address. @param {number} address */
  isWritable(address) {
    return this.#segmentOf(address)?.writable ?? false
  }
}
