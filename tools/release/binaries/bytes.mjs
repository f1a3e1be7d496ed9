import { Problem } from '../../acl/problem.mjs'

/** No name is longer: in a damaged file the end of one may be megabytes away, for thousands of them. */
export const longestName = 2048

/** @param {number} number */
const hex = (number) => `0x${number.toString(16)}`

/** A part of a binary. To read beyond it is a Problem that names the file, the part and the place. */
export class Bytes {
  #file
  #content
  #offset

  /**
   * @param {string} file
   * @param {Buffer} content
   * @param {string} name of the part
   * @param {number} offset in the file
   */
  constructor(file, content, name = 'the file', offset = 0) {
    this.#file = file
    this.#content = content
    this.#offset = offset
    this.name = name
  }

  get length() {
    return this.#content.length
  }

  /** @param {string} expected @param {string} received */
  problem(expected, received) {
    return new Problem(`${this.#file}: ${this.name}: expected ${expected}, received ${received}`)
  }

  /** @param {number} at @param {number} length */
  #view(at, length) {
    if (at >= 0 && at + length <= this.length) return this.#content.subarray(at, at + length)
    const end = hex(this.#offset + this.length)
    throw this.problem(`${length} bytes at ${hex(this.#offset + at)}`, `an end at ${end}`)
  }

  /** @param {string} name @param {number} at @param {number} length */
  part(name, at, length = Math.max(0, this.length - at)) {
    const whole = new Bytes(this.#file, this.#content, name, this.#offset)
    return new Bytes(this.#file, whole.#view(at, length), name, this.#offset + at)
  }

  /** @param {number} at */
  u8(at) {
    return this.#view(at, 1)[0]
  }

  /** @param {number} at */
  u16(at) {
    return this.#view(at, 2).readUInt16LE()
  }

  /** @param {number} at */
  u32(at) {
    return this.#view(at, 4).readUInt32LE()
  }

  /**
   * Not exact beyond 2^53, which is far beyond the end of any file.
   * @param {number} at
   */
  u64(at) {
    return this.u32(at) + 2 ** 32 * this.u32(at + 4)
  }

  /** @param {number} at */
  u32be(at) {
    return this.#view(at, 4).readUInt32BE()
  }

  /** @param {number} at */
  u64be(at) {
    return 2 ** 32 * this.u32be(at) + this.u32be(at + 4)
  }

  /**
   * Where the zero byte behind a name is.
   * @param {number} at
   */
  endOfText(at) {
    this.#view(at, 1)
    const length = this.#content.subarray(at, at + longestName + 1).indexOf(0)
    if (length >= 0) return at + length
    throw this.problem(`a name of at most ${longestName} bytes at ${hex(this.#offset + at)}`, 'a longer one')
  }

  /**
   * A name that ends with a zero byte; what is not printable ASCII is escaped.
   * @param {number} at
   */
  text(at) {
    return printable(this.#content.subarray(at, this.endOfText(at)))
  }

  /** @param {import('node:crypto').Hash} hash */
  digest(hash) {
    return hash.update(this.#content).digest()
  }

  /** @param {Buffer} other */
  equals(other) {
    return this.#content.equals(other)
  }
}

/** @param {Buffer} bytes */
export const printable = (bytes) =>
  bytes.toString('latin1').replace(/[^ -~]/g, (one) => `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`)
