import { expect, test } from 'vitest'
import { float16Bits, float16Value } from '../src/index.js'

test('every float16 survives the way to a number and back', () => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = float16Value(bits)
    if (Number.isNaN(value)) expect((bits & 0x7fff) > 0x7c00).toBe(true)
    else if (float16Bits(value) !== bits) expect.fail(`0x${bits.toString(16)} came back as ${float16Bits(value)}`)
  }
})

test('numbers between two float16 go to the nearest, ties to the even one', () => {
  for (let bits = 0; bits < 0x7bff; bits++) {
    const [below, above] = [float16Value(bits), float16Value(bits + 1)]
    const middle = (below + above) / 2
    const even = bits % 2 === 0 ? bits : bits + 1
    const nudge = (above - below) * 2 ** -30
    const found = [float16Bits(middle - nudge), float16Bits(middle), float16Bits(middle + nudge), float16Bits(-middle)]
    const expected = [bits, even, bits + 1, 0x8000 | even]
    if (found.some((value, i) => value !== expected[i])) expect.fail(`around ${middle}: ${found}, expected ${expected}`)
  }
})

test.each([
  [65504, 0x7bff],
  [65519.99, 0x7bff],
  [65520, 0x7c00],
  [1e300, 0x7c00],
  [Number.NEGATIVE_INFINITY, 0xfc00],
  [-0, 0x8000],
  [2 ** -25, 0],
  [2 ** -25 * 1.0001, 1],
  [5e-324, 0],
  [Number.NaN, 0x7e00],
])('%d becomes %d', (value, bits) => {
  expect(float16Bits(value)).toBe(bits)
})
