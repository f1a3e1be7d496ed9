import { describe, expect, test } from 'vitest'
import { Attention, type AttentionOptions, float64Attention, type Tensor } from '../src/index.js'
import { expectClose } from './support/compare.js'
import { type Choice, describeEachChoice } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { availableIsas, describeEachIsa } from './support/instruction-sets.js'
import { Random } from './support/random.js'
import { count, tensor } from './support/tensors.js'

const greatest = 3.4028234663852886e38

interface Inputs {
  query: Tensor
  key: Tensor
  value: Tensor
}

function outputOf(choice: Choice, inputs: Inputs, options: Partial<AttentionOptions> = {}): Float32Array {
  const [, heads, , headDim] = inputs.query.dims as [number, number, number, number]
  using attention = new Attention({ pipeline: 'fp32', heads, headDim, ...choice, ...options })
  return attention.runSync(inputs).output.data as Float32Array
}

const column = (values: readonly number[]) => tensor('float32', [1, 1, values.length, 1], values)
const zeros = (length: number) => column(Array(length).fill(0))
/** Keys that all weigh the same. */
const meanOf = (values: readonly number[]): Inputs => ({
  query: zeros(1),
  key: zeros(values.length),
  value: column(values),
})

describeEachChoice('fp32: sums that leave float32 before they are normalized', (choice) => {
  test.each([
    [[2e38, 2e38], 2e38],
    [[-2e38, -2e38, -2e38], -2e38],
    [[3e38, 3e38, -3e38, -3e38], 0],
    [Array<number>(1000).fill(3e38), 3e38],
  ])('%j', (values, mean) => {
    const [output] = outputOf(choice, meanOf(values))
    expect(Math.abs(output! - mean)).toBeLessThan(1e-5 * 3e38)
  })
})

const engines: readonly Choice[] = [...availableIsas.map((isa) => ({ isa })), { engine: 'reference' }]

describe.each(engines)('fp32: every output that is finite, %j', (choice) => {
  test.each([[1], [3], [257]])('up to the greatest float32, of %i keys', (keys) => {
    expect([...outputOf(choice, meanOf(Array(keys).fill(greatest)))]).toEqual([Math.fround(greatest)])
  })

  test('scores that leave float32, whole or in between', () => {
    // Two products of -3e38 and two of 3e38: the first key weighs as much as the second.
    const row = (values: readonly number[]) => tensor('float32', [1, 1, values.length / 4, 4], values)
    const cancelling: Inputs = {
      query: row([1, 1, 1, 1]),
      key: row([-3e38, -3e38, 3e38, 3e38, 0, 0, 0, 0]),
      value: row([1, 2, 3, 4, 5, 6, 7, 8]),
    }
    expect([...outputOf(choice, cancelling)]).toEqual([3, 4, 5, 6])
    const large = column([3e38])
    expect([...outputOf(choice, { query: large, key: large, value: large })]).toEqual([Math.fround(3e38)])
    // Far beyond float32, but for the scale, which leaves differences that count.
    const query = column([1e30])
    const scaled = outputOf(
      choice,
      { query, key: column([1e30, 1.0000001e30, 0]), value: column([0, 1, 0]) },
      { softmaxScale: 1e-30 },
    )
    expect(scaled[0]).toBeGreaterThan(0.99)
    const steep = outputOf(
      choice,
      { query: column([1e20]), key: column([1e10, 0]), value: column([1, 0]) },
      { softmaxScale: 1e30 },
    )
    expect([...steep]).toEqual([1])
  })
})

describeEachIsa('fp32: rows of all kinds in one problem', (isa) => {
  const dims = [2, 4, 37, 24] as const
  const keyDims = [2, 2, 37, 24] as const
  const random = new Random(5)
  const values = (of: readonly number[], scale: (row: number) => number) =>
    Float32Array.from({ length: count(of) }, (_, i) => random.normal() * scale(Math.floor(i / 24)))
  const inputs: Inputs = {
    query: tensor(
      'float32',
      dims,
      values(dims, (row) => (row % 5 === 0 ? 1e25 : 1)),
    ),
    key: tensor(
      'float32',
      keyDims,
      values(keyDims, (row) => (row % 7 === 0 ? 1e14 : 1)),
    ),
    value: tensor(
      'float32',
      keyDims,
      values(keyDims, (row) => (row % 3 === 0 ? 5e37 : 1)),
    ),
  }
  const exact = { causal: float64Attention({ ...inputs, causal: true }), full: float64Attention(inputs) }

  test.each([
    ['causal', 1],
    ['causal', 3],
    ['full', 2],
  ] as const)('as in float64, %s, %i threads', (mask, threads) => {
    const output = outputOf({ isa }, inputs, { kvHeads: 2, causal: mask === 'causal', threads })
    expectClose(output, exact[mask], 1e-5, 'output')
  })

  test('an output that leaves float16 is told', async () => {
    const output = tensor('float16', dims, new Float32Array(count(dims)))
    using attention = new Attention({ pipeline: 'fp32', heads: 4, kvHeads: 2, headDim: 24, isa })
    expectTyped(await errorOf(() => attention.runSync({ ...inputs, output })), 'NON_FINITE', 'output')
  })
})
