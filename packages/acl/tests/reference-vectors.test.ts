import { describe, expect, test } from 'vitest'
import { Attention, float64Attention, indexParameters, indexSoftmax, weightTable } from '../src/index.js'
import { indexIntermediates } from './support/agreement.js'
import { expectClose, expectIdentical } from './support/compare.js'
import { attentionCases, indexSoftmaxCases, inputsOf, optionsOf, tableOf } from './support/vectors.js'

describe('reference IndexSoftmax', () => {
  test.each(indexSoftmaxCases)('$name', (vector) => {
    const { logitScale, rows, cols, shift, threshold, multiplier } = vector
    const table = tableOf(vector)
    expect(indexParameters({ ...table, logitScale })).toMatchObject({ shift, threshold, multiplier })
    expectIdentical(weightTable(table).weight, vector.lut, 'lut')

    const scores = Int32Array.from(vector.scores)
    const valid = vector.valid ? { valid: Uint8Array.from(vector.valid) } : {}
    for (const normalization of ['integer', 'deferred'] as const) {
      const common = { scores, rows, cols, ...table, ...valid, normalization, engine: 'reference' } as const
      for (const scale of [logitScale, new Float64Array(rows).fill(logitScale)]) {
        const result = indexSoftmax({ ...common, logitScale: scale })
        const probabilities = normalization === 'integer' ? vector.normalized : vector.plane
        expectIdentical(result.probabilities, probabilities, 'probabilities')
        expectIdentical(result.rowSum, vector.rowSum, 'rowSum')
        expectIdentical(result.lost, vector.lost, 'lost')
        expectIdentical(result.weight!, vector.weight, 'weight')
        expectIdentical(result.plane!, vector.plane, 'plane')
        expectIdentical(result.normalized!, vector.normalized, 'normalized')
        const indices = vector.indices.map((index) => index ?? 255)
        expectIdentical(result.indices!, indices, 'indices')
      }
    }
  })
})

describe('reference attention', () => {
  test.each(attentionCases)('$name', (vector) => {
    using attention = new Attention({ ...optionsOf(vector), engine: 'reference' })
    const result = attention.runSync({ ...inputsOf(vector), intermediates: true })
    const { output } = result
    const intermediates = indexIntermediates(result)
    const integers = ['queryInt8', 'keyInt8', 'valueInt8', 'scores', 'probabilities', 'rowSum', 'lost'] as const
    for (const name of integers) expectIdentical(intermediates[name]!, vector[name], name)
    for (const name of ['queryScale', 'keyScale', 'valueScale', 'valueCenter'] as const) {
      expectIdentical(intermediates[name], Float32Array.from(vector[name]), name)
    }
    expectClose(output.data as Float32Array, vector.output, 1e-5, 'output')
  })
})

describe('float64 attention', () => {
  test.each(attentionCases)('$name', (vector) => {
    const exact = float64Attention({ ...inputsOf(vector), causal: vector.options.causal })
    expectClose(exact, vector.float64Attention, 1e-6, 'output')
  })
})
