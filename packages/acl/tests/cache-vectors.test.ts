import { expect, test } from 'vitest'
import { Attention, type CachedInputs, type FloatTensor, KvCache, type KvCacheOptions } from '../src/index.js'
import { integerScale } from '../src/reference/version-2/quantize-row.js'
import { floats } from './support/agreement.js'
import {
  type CacheCase,
  type CacheStep,
  cacheCases,
  cacheErrors,
  optionsOf,
  toFloat32,
  toNumber,
} from './support/block-vectors.js'
import { expectIdentical } from './support/compare.js'
import { type Choice, describeEachBlockChoice } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { tensor } from './support/tensors.js'

const codes = ['INVALID_ARGUMENT', 'SHAPE_MISMATCH', 'NON_FINITE', 'UNKNOWN_OPTION']

/** A case of the vectors under way. */
class Play {
  readonly #vector: CacheCase
  readonly #cacheOptions: KvCacheOptions
  readonly #attention: Attention
  readonly #caches = new Map<number, KvCache>()

  constructor(vector: CacheCase, choice: Choice) {
    this.#vector = vector
    const { keyOffset, valueOffset, ...options } = optionsOf(vector)
    this.#attention = new Attention({ ...options, ...choice, threads: 2 })
    const { kvHeads, headDim, valueDim, rotate, keyBits, valueBits } = this.#attention.options
    this.#cacheOptions = {
      ...{ kvHeads, headDim, valueDim, rotate: rotate!, keyBits: keyBits!, valueBits: valueBits! },
      ...(keyOffset && { keyOffset }),
      ...(valueOffset && { valueOffset }),
      ...choice,
    }
    this.#make(0)
  }

  #make(number: number): void {
    this.#caches.set(number, new KvCache(this.#cacheOptions))
  }

  cache(number: number): KvCache {
    return this.#caches.get(number)!
  }

  #rows(step: CacheStep & { op: 'append' }, name: 'key' | 'value') {
    const { kvHeads, headDim, valueDim } = this.#vector
    const dims = [1, kvHeads, step.count, name === 'key' ? headDim : valueDim]
    const scales = step.inputScales?.[name]
    return scales
      ? tensor('int8', dims, step[name].map(toNumber), toFloat32(scales))
      : tensor('float32', dims, step[name].map(toNumber))
  }

  inputs(step: CacheStep & { op: 'attend' }): CachedInputs {
    const { heads, headDim, valueDim, options } = this.#vector
    const { caches, queryLength, inputScales, queryStart, mask, maskShape, bias, biasShape } = step
    const dims = [caches.length, heads, queryLength, headDim]
    const values = step.query.map(toNumber)
    const outputDims = [caches.length, heads, queryLength, valueDim]
    const list = caches.map((number) => this.cache(number))
    const output: FloatTensor = {
      type: 'float16',
      dims: outputDims,
      data: new Uint16Array(outputDims.reduce((product, dim) => product * dim)),
    }
    return {
      query: inputScales.query
        ? tensor('int8', dims, values, toFloat32(inputScales.query))
        : tensor('float32', dims, values),
      cache: list.length === 1 ? list[0]! : list,
      ...(queryStart && { queryStart }),
      ...(mask && { mask: { type: 'bool', dims: maskShape!, data: Uint8Array.from(mask) } }),
      ...(bias && { bias: tensor('float32', biasShape!, bias.map(toNumber)) }),
      ...(options.outputType === 'float16' && { output }),
      logSumExp: true,
    }
  }

  do(step: CacheStep): void {
    switch (step.op) {
      case 'new':
        this.#make(step.cache)
        break
      case 'append':
        this.cache(step.cache).append({ key: this.#rows(step, 'key'), value: this.#rows(step, 'value') })
        break
      case 'truncate':
        this.cache(step.cache).truncate(step.to)
        break
      case 'fork':
        this.#caches.set(step.cache, this.cache(step.from).fork())
        break
      case 'free': {
        const { window, keepFirst } = this.#vector.options
        this.cache(step.cache).release({ window: window!, keepFirst })
        break
      }
      case 'attend': {
        const { output, logSumExp } = this.#attention.runSync(this.inputs(step))
        expectIdentical(floats(output), toFloat32(step.output), 'output')
        for (const [i, expected] of step.logSumExp.map(toNumber).entries()) {
          if (Number.isFinite(expected)) expect(logSumExp![i]).toBeCloseTo(expected, 3)
          else expect(logSumExp![i]).toBe(expected)
        }
        this.#integers(step)
      }
    }
  }

  /** Of each item as many columns as its cache has keys. */
  #integers(step: CacheStep & { op: 'attend' }): void {
    const { intermediates } = this.#attention.runSync({ ...this.inputs(step), intermediates: true })
    if (intermediates?.version !== 2) throw new TypeError('no intermediates')
    const rows = this.#vector.heads * step.queryLength
    const lengths = step.caches.map((number) => this.cache(number).length)
    const columns = Math.max(...lengths)
    const cut = (array: Iterable<number>, stride: number, kept: (length: number) => number) => {
      const all = [...array]
      return lengths.flatMap((length, item) =>
        Array.from({ length: rows }, (_, row) => {
          const begin = (item * rows + row) * stride
          return all.slice(begin, begin + kept(length))
        }).flat(),
      )
    }
    const blocks = (length: number) => Math.ceil(length / 64)
    const plane = cut(intermediates.plane, columns, (length) => length)
    if (step.plane) expectIdentical(plane, step.plane, 'plane')
    const ofBlocks = (array: Iterable<number>) => cut(array, blocks(columns), blocks)
    if (step.blockExponent)
      expect(ofBlocks(intermediates.blockExponent)).toEqual(step.blockExponent.map((e) => e ?? -1))
    if (step.shift) expect(ofBlocks(intermediates.shift)).toEqual(step.shift)
    if (step.rowSum) expect([...intermediates.rowSum].map(String)).toEqual(step.rowSum)
  }

  check(step: CacheStep): void {
    if (step.op === 'attend' || step.op === 'create') return
    const cache = this.cache(step.cache)
    expect(cache.length).toBe(step.length)
    if (step.op !== 'append') return
    const { key, value, keyScale, valueScale } = cache.read(step.length - step.count, step.count)
    if (step.keyInt8) expectIdentical(key, step.keyInt8, 'key')
    if (step.valueInt8) expectIdentical(value, step.valueInt8, 'value')
    if (!step.keyScale || !step.valueScale) return // of large steps
    expectIdentical(keyScale, toFloat32(step.keyScale), 'keyScale')
    const expected = toFloat32(step.valueScale).map((scale) => {
      const { mantissa, exponent } = integerScale(scale)
      return exponent === undefined ? 0 : mantissa * 2 ** (exponent - 15)
    })
    expectIdentical(valueScale, expected, 'valueScale')
  }
}

describeEachBlockChoice('caches', (choice) => {
  test.each(cacheCases)('$name', (vector) => {
    const play = new Play(vector, choice)
    for (const step of vector.steps) {
      play.do(step)
      play.check(step)
    }
  })

  // Memory is freed 1024 keys at a time: these have fewer, and nothing is gone.
  const errors = cacheErrors.filter(({ steps }) => !steps.some(({ error }) => error === 'freed'))
  test.each(errors)('refused: $name', async (vector) => {
    if (vector.steps.some(({ op }) => op === 'create')) {
      const { smoothKey, centerValue } = vector.options
      const { heads, kvHeads, headDim } = vector
      const query = tensor('float32', [1, heads, 1, headDim], new Array(heads * headDim).fill(1))
      using attention = new Attention({ ...optionsOf(vector), ...choice })
      using cache = new KvCache({ kvHeads, headDim, valueDim: vector.valueDim, ...choice })
      const error = await errorOf(() => attention.runSync({ query, cache }))
      expectTyped(error, 'INVALID_ARGUMENT', smoothKey ? 'smoothKey' : 'centerValue')
      expect(smoothKey ?? centerValue).toBe(true)
      return
    }
    const play = new Play(vector, choice)
    for (const step of vector.steps) {
      if (step.error === undefined) {
        play.do(step)
        play.check(step)
        continue
      }
      const before = step.op === 'attend' ? undefined : play.cache(step.cache).save()
      const error = await errorOf(() => play.do(step))
      expect(codes).toContain(expectTyped(error).code)
      if (before && step.op !== 'attend') expectIdentical(play.cache(step.cache).save(), before, 'the cache')
    }
  })
})
