/** The parts of a binary one behind the other, with the place of each. */
export class Layout {
  #parts = []
  length = 0
  /** @type {Record<string, number>} */
  at = {}

  /** @param {string} name @param {Buffer | number} part itself, or its size, to be filled in later @param {number} alignment */
  add(name, part, alignment = 8) {
    const content = typeof part === 'number' ? Buffer.alloc(part) : part
    const padding = Buffer.alloc(-this.length & (alignment - 1))
    this.at[name] = this.length + padding.length
    this.#parts.push(padding, content)
    this.length += padding.length + content.length
    return content
  }

  get content() {
    return Buffer.concat(this.#parts)
  }
}

/** Names one behind the other, each with a zero byte behind it. */
export class Names {
  #names = ['']
  #length = 1

  /** Where a name begins. @param {string} name */
  add(name) {
    this.#names.push(name)
    this.#length += name.length + 1
    return this.#length - name.length - 1
  }

  get content() {
    return Buffer.from(`${this.#names.join('\0')}\0`, 'latin1')
  }
}

/** Numbers as they are in memory. @param {[bytes: 1 | 2 | 4 | 8, value: number][]} fields */
export const little = (...fields) =>
  Buffer.concat(
    fields.map(([bytes, value]) => {
      const field = Buffer.alloc(8)
      field.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)))
      return field.subarray(0, bytes)
    }),
  )

/** @param {number[]} values 32 bits each, as they are on the wire */
export const big = (...values) =>
  Buffer.concat(
    values.map((value) => {
      const field = Buffer.alloc(4)
      field.writeUInt32BE(value)
      return field
    }),
  )

/** A copy with something else in one place. @param {Buffer} content @param {number} at @param {Buffer} bytes */
export function doctored(content, at, bytes) {
  const copy = Buffer.from(content)
  bytes.copy(copy, at)
  return copy
}
