import { describe, expect, test } from 'vitest'
import { Attention, type BlockIntermediates } from '../src/index.js'
import { channelMeans } from '../src/reference/quantize.js'
import { blockSoftmax, mantissaOf } from '../src/reference/version-2/block-softmax.js'
import { inUnits, logits } from '../src/reference/version-2/common-unit.js'
import { integerScale, quantizeRow } from '../src/reference/version-2/quantize-row.js'
import { rotate, rotationBlock, unrotate } from '../src/reference/version-2/rotation.js'
import { floats } from './support/agreement.js'
import {
  type AttentionCall,
  type AttentionItem,
  attentionCases,
  attentionErrors,
  inputsOf,
  type Numeral,
  optionsOf,
  rowCases,
  softmaxCases,
  toFloat32,
  toNumber,
} from './support/block-vectors.js'
import { expectIdentical } from './support/compare.js'
import { describeEachBlockChoice } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'

describe('rows, reference engine', () => {
  test.each(rowCases)('$name', (vector) => {
    if (vector.kind === 'mantissa') {
      expectIdentical(
        Array.from({ length: 1024 }, (_, d) => mantissaOf(d)),
        vector.weights,
        'mantissa',
      )
      return
    }
    const { rows, dim } = vector
    const input = toFloat32(vector.input)
    if (vector.kind === 'mean') {
      expectIdentical(channelMeans(input, [1, 1, rows, dim]), toFloat32(vector.mean), 'mean')
      return
    }
    for (let row = 0; row < rows; row++) {
      const span = [row * dim, (row + 1) * dim] as const
      const values = input.slice(...span)
      if (vector.kind === 'rotate') {
        rotate(values, rotationBlock(dim))
        expectIdentical(values, toFloat32(vector.rotated.slice(...span)), 'rotated')
        unrotate(values, rotationBlock(dim))
        expectIdentical(values, toFloat32(vector.back.slice(...span)), 'back')
        continue
      }
      const integers = new Int16Array(dim)
      const scale = quantizeRow(values, vector.bits, integers)
      expectIdentical([scale], toFloat32([vector.scale[row]!]), `scale of row ${row}`)
      if (Number.isNaN(scale)) continue
      expectIdentical(integers, vector.values.slice(...span), `row ${row}`)
      const { mantissa, exponent } = integerScale(scale)
      expect([mantissa, exponent ?? null]).toEqual([vector.mantissa[row], vector.exponent[row]])
    }
  })
})

describe('block softmax, reference engine', () => {
  test.each(softmaxCases)('$name', (vector) => {
    const { cols, scores, unit, slope, position, planeBits, valid } = vector
    const x = Float32Array.from({ length: cols }, (_, j) =>
      inUnits(scores[j]!, Math.fround(vector.keyScale?.[j] ?? 1), Math.fround(unit), {
        slope: slope === null ? undefined : Math.fround(slope),
        offset: j - (position ?? 0),
        bias: vector.bias ? Math.fround(toNumber(vector.bias[j]!)) : undefined,
      }),
    )
    expectIdentical(x, toFloat32(vector.x), 'x')
    const { blocks, rowSum } = blockSoftmax({
      x: x.map((value, j) => (valid?.[j] === 0 ? Number.NEGATIVE_INFINITY : value)),
      valueScales: Array.from({ length: cols }, (_, j) => integerScale(Math.fround(vector.valueScale?.[j] ?? 1))),
      sink: vector.sink === null ? Number.NEGATIVE_INFINITY : logits(Math.fround(toNumber(vector.sink))),
      planeBits,
    })
    for (const name of ['distance', 'weight', 'folded', 'plane'] as const) {
      expectIdentical(
        blocks.flatMap((block) => [...block[name]]),
        vector[name],
        name,
      )
    }
    expect(blocks.map(({ exponent }) => exponent ?? null)).toEqual(vector.blockExponent)
    expect(blocks.map(({ valueExponent }) => valueExponent ?? null)).toEqual(vector.valueExponent)
    expect(blocks.map(({ sum }) => sum)).toEqual(vector.blockSum)
    expect(blocks.map(({ shift }) => shift)).toEqual(vector.shift)
    expect(rowSum).toBe(BigInt(vector.rowSum))
  })
})

type Name = Exclude<keyof BlockIntermediates, 'version'>

/** How an array is laid out after the batch; an item of the vectors has only the keys and blocks that are present. */
interface Layout {
  outer: number
  along: 'keys' | 'blocks' | 'nothing'
  inner: number
}

function layoutsOf({ heads, kvHeads, queryLength, headDim, valueDim }: AttentionCall): Record<Name, Layout> {
  const of = (outer: number, along: Layout['along'], inner = 1): Layout => ({ outer, along, inner })
  const rows = heads * queryLength
  return {
    queryInt: of(rows, 'nothing', headDim),
    keyInt8: of(kvHeads, 'keys', headDim),
    valueInt8: of(kvHeads, 'keys', valueDim),
    queryScale: of(rows, 'nothing'),
    keyScale: of(kvHeads, 'keys'),
    valueScale: of(kvHeads, 'keys'),
    keyOffset: of(kvHeads, 'nothing', headDim),
    valueOffset: of(kvHeads, 'nothing', valueDim),
    unit: of(rows, 'nothing'),
    scores: of(rows, 'keys'),
    distance: of(rows, 'keys'),
    weight: of(rows, 'keys'),
    folded: of(rows, 'keys'),
    plane: of(rows, 'keys'),
    blockExponent: of(rows, 'blocks'),
    blockSum: of(rows, 'blocks'),
    valueExponent: of(rows, 'blocks'),
    shift: of(rows, 'blocks'),
    rowSum: of(rows, 'nothing'),
  }
}

/** What the vectors call null. */
const nothing: Partial<Record<Name, number>> = { blockExponent: -1, valueExponent: -128 }

/** Every array that an item has, exactly. Integers and scores of rows that must not be used mean nothing. */
function expectItem(actual: BlockIntermediates, call: AttentionCall, item: AttentionItem, index: number): void {
  const { keyLength, kvHeads, heads, queryLength } = call
  const sizes = { keys: keyLength, blocks: Math.ceil(keyLength / 64), nothing: 1 }
  const present = { keys: item.keys, blocks: Math.ceil(item.keys / 64), nothing: 1 }
  const isBad = (scales: AttentionItem['keyScale'], head: number, key: number) =>
    scales?.[head * item.keys + key] === 'nan'

  for (const [name, { outer, along, inner }] of Object.entries(layoutsOf(call)) as [Name, Layout][]) {
    const expected = item[name]
    if (expected === undefined) continue
    const size = outer * present[along] * inner
    if (expected) expect(expected.length, `${name}: elements`).toBe(size)
    expect(actual[name].length, `${name}: elements`).toBe(call.batch * outer * sizes[along] * inner)
    for (let at = 0; at < size; at++) {
      const [o, m, c] = [Math.floor(at / (present[along] * inner)), Math.floor(at / inner) % present[along], at % inner]
      const kvHead = Math.floor((Math.floor(o / queryLength) * kvHeads) / heads)
      if (name === 'keyInt8' && isBad(item.keyScale, o, m)) continue
      if (name === 'valueInt8' && isBad(item.valueScale, o, m)) continue
      if (name === 'scores' && isBad(item.keyScale, kvHead, m)) continue
      const got = actual[name][((index * outer + o) * sizes[along] + m) * inner + c]!
      const wanted = numberOf(name, expected === null ? 0 : expected[at]!)
      // Unlike toBe, takes 0 and -0 for equal.
      if (got !== wanted && !(Number.isNaN(got) && Number.isNaN(wanted))) {
        expect.fail(`item ${index}: ${name}[${o}, ${m}, ${c}] is ${got}, expected ${wanted}`)
      }
    }
  }
}

function numberOf(name: Name, given: number | string | null): number | bigint {
  if (name === 'rowSum') return BigInt(given!)
  return given === null ? nothing[name]! : Math.fround(toNumber(given as Numeral))
}

describeEachBlockChoice('attention vectors', (choice) => {
  test.each(attentionCases)('$name', (vector) => {
    const { batch, heads, queryLength, valueDim, options } = vector
    using attention = new Attention({ ...optionsOf(vector), ...choice })
    const { query, key, value, plane } = options.bits
    expect(attention.options).toMatchObject({ queryBits: query, keyBits: key, valueBits: value, planeBits: plane })

    const result = attention.runSync({ ...inputsOf(vector), intermediates: true, logSumExp: true })
    const { output, logSumExp } = result
    const intermediates = result.intermediates as BlockIntermediates
    expect(vector.items.length).toBe(batch)
    for (const [index, item] of vector.items.entries()) {
      expectItem(intermediates, vector, item, index)
      const [rows, elements] = [heads * queryLength, heads * queryLength * valueDim]
      const values = Array.from(floats(output)).slice(index * elements, (index + 1) * elements)
      const wanted = toFloat32(item.output)
      expectIdentical(values, wanted, 'output')
      for (let row = 0; row < rows; row++) {
        const [got, expected] = [logSumExp![index * rows + row]!, toNumber(item.logSumExp[row]!)]
        if (expected === Number.NEGATIVE_INFINITY) expect(got).toBe(expected)
        else expect(Math.abs(got - expected)).toBeLessThanOrEqual(1e-4 * Math.max(1, Math.abs(expected)))
      }
    }
    const bare = attention.runSync(inputsOf(vector))
    expect(bare).not.toHaveProperty('intermediates')
    expect(bare).not.toHaveProperty('logSumExp')
    expectIdentical(
      bare.output.data as Float32Array,
      output.data as Float32Array,
      'output of a run without intermediates',
    )
  })
})

/** The argument that the error names, by what the vectors say is wrong. */
const argumentOf: Record<string, RegExp> = {
  'query row': /^query$/,
  'visible key': /^(key|value)$/,
  'visible value': /^value$/,
  bias: /^bias$/,
  'extra logit': /^sinks\[0\]$/,
  slope: /^alibiSlopes\[0\]$/,
  softmaxScale: /^softmaxScale$/,
  window: /^window$/,
  keepFirst: /^keepFirst$/,
  keyLengths: /^keyLengths\[0\]$/,
  'offset and extra logits': /^(key|value)Offset$/,
  'mean and extra logits': /^(smoothKey|centerValue)$/,
  'mean and offset': /^(smoothKey|centerValue)$/,
  output: /^output$/,
  'query and key': /^key\.type$/,
  'offset and int8': /^(key|value)Offset$/,
  'mean and int8': /^(smoothKey|centerValue)$/,
  'int8 at 4 bits': /^(key|value)Bits$/,
  scale: /^(query|key|value)\.scale$/,
  'int8 key beyond 63': /^key$/,
}

describeEachBlockChoice('calls that must be refused', (choice) => {
  test.each(attentionErrors)('$name', async (vector) => {
    const call = vector.keyLength > 0 ? vector : withPadding(vector)
    const error = await errorOf(() => {
      using attention = new Attention({ ...optionsOf(call), ...choice })
      attention.runSync(inputsOf(call))
    })
    expectTyped(error, undefined, argumentOf[vector.error]!)
  })
})

/** No dimension of a tensor here is 0: one key that is not present instead of none. */
function withPadding(call: AttentionCall): AttentionCall {
  const { batch, kvHeads, headDim, valueDim, options } = call
  const zeros = (dim: number) => new Array<number>(batch * kvHeads * dim).fill(0)
  const keyLengths = new Array<number>(batch).fill(0)
  return { ...call, keyLength: 1, key: zeros(headDim), value: zeros(valueDim), options: { ...options, keyLengths } }
}
