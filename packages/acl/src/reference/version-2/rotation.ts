/** Channels that a rotation mixes: the largest power of two that divides the dimension; section 2 of the numeric specification. */
export const rotationBlock = (dim: number): number => dim & -dim

/** A Walsh-Hadamard transform with signs, not normalized, of consecutive blocks of n channels; in place. */
export function rotate(row: Float32Array, n: number): void {
  for (let c = 0; c < row.length; c++) row[c]! *= sign(c % n)
  butterflies(row, n)
}

/** The inverse of {@link rotate}; in place. */
export function unrotate(row: Float32Array, n: number): void {
  butterflies(row, n)
  for (let c = 0; c < row.length; c++) row[c]! *= sign(c % n) / n
}

/** Storing in a Float32Array rounds every sum and difference by itself. */
function butterflies(row: Float32Array, n: number): void {
  for (let h = 1; h < n; h *= 2) {
    for (let c = 0; c < row.length; c++) {
      if (c & h) continue
      const [a, b] = [row[c]!, row[c + h]!]
      row[c] = a + b
      row[c + h] = a - b
    }
  }
}

/** The Rudin-Shapiro sequence: -1 where the number of neighbouring pairs of ones in the binary channel number is odd. */
function sign(channel: number): number {
  let odd = 0
  for (let pairs = channel & (channel >> 1); pairs; pairs &= pairs - 1) odd ^= 1
  return odd ? -1 : 1
}
