import { expect, test } from 'vitest'
import { Attention, indexSoftmax, quantize } from '../src/index.js'
import { indexIntermediates } from './support/agreement.js'
import { expectClose, expectIdentical } from './support/compare.js'
import { describeEachChoice } from './support/engines.js'
import { describeEachIsa } from './support/instruction-sets.js'
import { attentionCases, indexSoftmaxCases, inputsOf, optionsOf, tableOf } from './support/vectors.js'

describeEachIsa('IndexSoftmax vectors', (isa) => {
  test.each(indexSoftmaxCases)('$name', (vector) => {
    const { rows, cols, logitScale } = vector
    const scores = Int32Array.from(vector.scores)
    const valid = vector.valid ? { valid: Uint8Array.from(vector.valid) } : {}
    for (const normalization of ['integer', 'deferred'] as const) {
      for (const scale of [logitScale, new Float64Array(rows).fill(logitScale)]) {
        const table = tableOf(vector)
        const result = indexSoftmax({ scores, rows, cols, logitScale: scale, normalization, ...table, ...valid, isa })
        const probabilities = normalization === 'integer' ? vector.normalized : vector.plane
        expectIdentical(result.probabilities, probabilities, 'probabilities')
        expectIdentical(result.rowSum, vector.rowSum, 'rowSum')
        expectIdentical(result.lost, vector.lost, 'lost')
      }
    }
  })
})

describeEachChoice('attention vectors', (choice) => {
  test.each(attentionCases)('$name', (vector) => {
    for (const threads of [1, 2, 3, 7]) {
      using attention = new Attention({ ...optionsOf(vector), ...choice, threads })
      expect(attention).toMatchObject({ engine: 'native', ...choice })
      const result = attention.runSync({ ...inputsOf(vector), intermediates: true })
      const { output } = result
      const intermediates = indexIntermediates(result)
      const integers = ['queryInt8', 'keyInt8', 'valueInt8', 'scores', 'probabilities', 'rowSum', 'lost'] as const
      for (const name of integers) expectIdentical(intermediates[name]!, vector[name], `${threads} threads: ${name}`)
      for (const name of ['queryScale', 'keyScale', 'valueScale', 'valueCenter'] as const) {
        expectIdentical(intermediates[name], Float32Array.from(vector[name]), `${threads} threads: ${name}`)
      }
      expectClose(output.data as Float32Array, vector.output, 1e-5, `${threads} threads: output`)

      const fused = attention.runSync(inputsOf(vector))
      expectIdentical(
        fused.output.data as Float32Array,
        output.data as Float32Array,
        `${threads} threads: fused output`,
      )
    }
  })
})

describeEachIsa('quantization vectors', (isa) => {
  const unpadded = attentionCases.filter(({ options }) => options.keyLengths === null)
  test.each(unpadded)('$name', (vector) => {
    const { query, key, value } = inputsOf(vector)
    const { quantization, smoothKey, centerValue } = vector.options
    const ofQuery = quantize({ values: query, scope: quantization.query, isa })
    expectIdentical(ofQuery.quantized, vector.queryInt8, 'query')
    expectIdentical(ofQuery.scale, Float32Array.from(vector.queryScale), 'query scale')
    const ofKey = quantize({ values: key, scope: quantization.key, center: smoothKey, isa })
    expectIdentical(ofKey.quantized, vector.keyInt8, 'key')
    expectIdentical(ofKey.scale, Float32Array.from(vector.keyScale), 'key scale')
    const ofValue = quantize({ values: value, scope: quantization.value, center: centerValue, isa })
    expectIdentical(ofValue.quantized, vector.valueInt8, 'value')
    expectIdentical(ofValue.scale, Float32Array.from(vector.valueScale), 'value scale')
    if (centerValue) expectIdentical(ofValue.mean!, Float32Array.from(vector.valueCenter), 'value mean')
  })
})
