/** Reads a part of a binary from one place on. */
export class Cursor {
  #bytes

  /** @param {import('./bytes.mjs').Bytes} bytes @param {number} at */
  constructor(bytes, at = 0) {
    this.#bytes = bytes
    this.at = at
  }

  get atEnd() {
    return this.at >= this.#bytes.length
  }

  u8() {
    this.at += 1
    return this.#bytes.u8(this.at - 1)
  }

  /** A number in LEB128, of up to 64 bits; signed ones can be skipped with it. */
  uleb() {
    const start = this.at
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8()
      value += (byte & 127) * scale
      if (byte < 128) return value
      if (this.at - start === 10) throw this.#bytes.problem('a number of at most 10 bytes', 'a longer one')
    }
  }

  /** A name with a zero byte behind it. */
  text() {
    const text = this.#bytes.text(this.at)
    this.at = this.#bytes.endOfText(this.at) + 1
    return text
  }
}
