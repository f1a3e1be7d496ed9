import { failWith } from '../../checks/checks.js'
import { reject } from '../../checks/non-finite.js'
import { toFloat32 } from '../float-tensors.js'
import type { Operand } from './operands.js'
import { isScale } from './quantize-row.js'

/** Throws for a row of an operand that is used and must not be. */
export function unusable({ tensor, offset }: Operand, row: number): never {
  const { argument, dims, data, scale, type } = tensor
  const [, heads, length, dim] = dims
  const place = `[${[Math.floor(row / (heads * length)), Math.floor(row / length) % heads, row % length].join(', ')}]`
  if (type === 'int8') {
    if (!isScale(scale![row]!)) {
      const received = `${scale![row]} for the row at ${place}`
      return failWith('INVALID_ARGUMENT', `${argument}.scale`, 'each 0 or from 2^-74 to below 2^35', received)
    }
    const beyond = data.subarray(row * dim, (row + 1) * dim).find((q) => Math.abs(q) > 63)
    return failWith(
      'INVALID_ARGUMENT',
      argument,
      'integers from -63 to 63, as keyBits: 7 asks for',
      `${beyond} in the row at ${place}`,
    )
  }
  const values = toFloat32(tensor)
  const isWrong = (i: number) => !Number.isFinite(values[i])
  for (let i = row * dim; i < (row + 1) * dim; i++) if (isWrong(i)) reject(tensor, 'float32', i)
  const head = Math.floor(row / length)
  for (let c = 0; c < dim; c++) {
    if (Number.isFinite(offset[head * dim + c])) continue
    // The mean has it from a row that this one may not see.
    for (let i = head * length * dim + c; i < (head + 1) * length * dim; i += dim) {
      if (isWrong(i)) reject(tensor, 'float32', i)
    }
  }
  const expected = 'magnitudes below 2^40 where they are quantized, after means and rotation,'
  return failWith('NON_FINITE', argument, expected, `larger ones in the row at ${place}`)
}
