import { describe, expect, test } from 'vitest'
import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  type Float32Tensor,
  type Int8Tensor,
  type Pipeline,
  pipelines,
} from '../src/index.js'
import { floats, forSeeds, indexIntermediates, runOnce } from './support/agreement.js'
import { expectClose, expectIdentical } from './support/compare.js'
import { describeEachChoice } from './support/engines.js'
import { randomProblem } from './support/problems.js'
import { Random, seedOf } from './support/random.js'
import { tensor } from './support/tensors.js'

const draw = (random: Random, dims: number[]) => tensor('float32', dims, random.normals(dims.reduce((a, b) => a * b)))

/** Rows [begin, end) of one axis of a float32 tensor. */
function slice({ dims, data }: Float32Tensor, axis: number, begin: number, end: number): Float32Tensor {
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1)
  const outer = dims.slice(0, axis).reduce((a, b) => a * b, 1)
  const parts: number[] = []
  for (let i = 0; i < outer; i++) {
    const start = (i * dims[axis]! + begin) * inner
    parts.push(...data.subarray(start, start + (end - begin) * inner))
  }
  return tensor('float32', dims.with(axis, end - begin), parts)
}

const runOutput = (options: AttentionOptions, inputs: AttentionInputs) =>
  runOnce(options, inputs).output.data as Float32Array

describeEachChoice('properties', (choice) => {
  /** ComputeLibrary chooses its floating-point kernels by shape and threads, and with them the order of its sums. */
  const expectSame = (actual: ArrayLike<number>, expected: ArrayLike<number>, pipeline: Pipeline, what: string) => {
    const tolerance = choice.engine === 'acl' ? { fp32: 1e-5, fp16: 1e-2, int8: 0, int: 0 }[pipeline] : 0
    if (tolerance) expectClose(actual, expected, tolerance, what)
    else expectIdentical(actual, expected, what)
  }

  test.each(pipelines)('%s: any number of threads gives the same bits', async (pipeline) => {
    await forSeeds(seedOf(4000), 25, (seed) => {
      const { options, inputs } = randomProblem(new Random(seed), { pipeline, maxLength: 300, maxHeadDim: 70 })
      const single = floats(runOnce({ ...options, ...choice, threads: 1 }, inputs).output)
      for (const threads of [2, 3, 5, 16]) {
        const several = floats(runOnce({ ...options, ...choice, threads }, inputs).output)
        expectSame(several, single, pipeline, `${threads} threads: output`)
      }
    })
  })

  test.each(pipelines)('%s: a second run, and a run after another problem, give the same bits', async (pipeline) => {
    const limits = { pipeline, maxLength: 200, maxHeadDim: 70 }
    await forSeeds(seedOf(5000), 25, (seed) => {
      const random = new Random(seed)
      const { options, inputs } = randomProblem(random, limits)
      const { heads, headDim, kvHeads = heads } = options
      using attention = new Attention({ ...options, ...choice })
      const run = () => Float64Array.from(floats(attention.runSync(inputs).output))
      const first = run()
      expectIdentical(run(), first, 'second output')
      const other = [random.integer(1, 4), heads, random.integer(1, 300), headDim]
      const otherKeys = [other[0]!, kvHeads, random.integer(1, 300), headDim]
      attention.runSync({ query: draw(random, other), key: draw(random, otherKeys), value: draw(random, otherKeys) })
      expectIdentical(run(), first, 'third output')
    })
  })

  test.each(pipelines)('%s: batch items do not see one another', (pipeline) => {
    const random = new Random(21)
    const options = { pipeline, heads: 4, kvHeads: 2, headDim: 40, causal: true, threads: 2, ...choice }
    const query = draw(random, [3, 4, 29, 40])
    const [key, value] = [draw(random, [3, 2, 45, 40]), draw(random, [3, 2, 45, 40])]
    const whole = runOutput(options, { query, key, value })
    for (let item = 0; item < 3; item++) {
      const one = (t: Float32Tensor) => slice(t, 0, item, item + 1)
      const alone = runOutput(options, { query: one(query), key: one(key), value: one(value) })
      expectIdentical(alone, whole.subarray(item * alone.length, (item + 1) * alone.length), `item ${item}`)
    }
  })

  test.each(pipelines)('%s: grouped heads are repeated keys and values', (pipeline) => {
    const random = new Random(22)
    const query = draw(random, [1, 6, 20, 24])
    const [key, value] = [draw(random, [1, 2, 33, 24]), draw(random, [1, 2, 33, 24])]
    const repeat = (t: Float32Tensor) => {
      const heads = [0, 1].flatMap((head) => Array(3).fill(slice(t, 1, head, head + 1).data) as Float32Array[])
      return tensor(
        'float32',
        [1, 6, 33, 24],
        heads.flatMap((head) => Array.from(head)),
      )
    }
    const common = { pipeline, heads: 6, headDim: 24, threads: 2, ...choice }
    const grouped = runOutput({ ...common, kvHeads: 2 }, { query, key, value })
    const repeated = runOutput(common, { query, key: repeat(key), value: repeat(value) })
    expectSame(grouped, repeated, pipeline, 'output')
  })

  test.each(pipelines)('%s: the order of keys does not matter', (pipeline) => {
    const random = new Random(23)
    const keyLength = 97
    const query = draw(random, [1, 2, 15, 32])
    const [key, value] = [draw(random, [1, 2, keyLength, 32]), draw(random, [1, 2, keyLength, 32])]
    const order = Array.from({ length: keyLength }, (_, i) => (i * 38 + 11) % keyLength)
    const permute = (t: Float32Tensor) => {
      const data = new Float32Array(t.data.byteLength / 4)
      for (let head = 0; head < 2; head++) {
        for (const [to, from] of order.entries()) {
          const start = (head * keyLength + from) * 32
          data.set(t.data.subarray(start, start + 32), (head * keyLength + to) * 32)
        }
      }
      return { ...t, data }
    }
    const integer = pipeline === 'int'
    const options = {
      pipeline,
      heads: 2,
      headDim: 32,
      ...choice,
      ...(integer && { preset: 'precise-1' as const, smoothKey: false, centerValue: false }),
    }
    const wanted = integer ? { intermediates: true } : {}
    const straight = runOnce(options, { query, key, value, ...wanted })
    const permuted = runOnce(options, { query, key: permute(key), value: permute(value), ...wanted })
    expectClose(
      floats(permuted.output),
      floats(straight.output),
      pipeline === 'fp16' ? (choice.engine === 'acl' ? 1e-2 : 1e-3) : 1e-5,
      'output',
    )
    if (!integer) return
    const [inside, expected] = [indexIntermediates(permuted), indexIntermediates(straight)]
    expectIdentical(inside.rowSum!, expected.rowSum!, 'rowSum')
    expectIdentical(inside.lost!, expected.lost!, 'lost')
  })

  test.each(pipelines)('%s: padding is as if it were not there', (pipeline) => {
    const random = new Random(24)
    const query = draw(random, [1, 2, 15, 20])
    const [key, value] = [draw(random, [1, 2, 90, 20]), draw(random, [1, 2, 90, 20])]
    const options = { pipeline, heads: 2, headDim: 20, threads: 3, ...choice }
    for (const present of [1, 16, 37, 64, 89]) {
      const padded = runOutput(options, { query, key, value, keyLengths: [present] })
      const cut = (t: Float32Tensor) => slice(t, 2, 0, present)
      const short = runOutput(options, { query, key: cut(key), value: cut(value) })
      expectIdentical(padded, short, `${present} keys`)
    }
  })

  test.each(pipelines)('%s: rows that see no key are zero', (pipeline) => {
    const random = new Random(25)
    const query = draw(random, [2, 1, 30, 12])
    const [key, value] = [draw(random, [2, 1, 10, 12]), draw(random, [2, 1, 10, 12])]
    const output = tensor('float32', [2, 1, 30, 12], new Float32Array(720).fill(Number.NaN))
    const options = { pipeline, heads: 1, headDim: 12, causal: true, ...choice }
    const data = runOutput(options, { query, key, value, keyLengths: [10, 0], output })
    for (let row = 0; row < 60; row++) {
      const isEmpty = row < 20 || row >= 30
      const cells = data.subarray(row * 12, row * 12 + 12)
      expect(
        cells.every((x) => (isEmpty ? x === 0 : x !== 0 && Number.isFinite(x))),
        `row ${row}`,
      ).toBe(true)
    }
  })

  test('int: a causal row is the last row of a shorter problem', () => {
    const random = new Random(26)
    const [length, headDim] = [70, 16]
    const draw8 = () => {
      const values = Int8Array.from({ length: length * headDim }, () => random.integer(-127, 127))
      return tensor('int8', [1, 1, length, headDim], values, Float32Array.of(0.02))
    }
    const quantization = { query: 'tensor', key: 'tensor', value: 'tensor' } as const
    const options = { preset: 'precise-1', heads: 1, headDim, causal: true, quantization, ...choice } as const
    const [query, key, value] = [draw8(), draw8(), draw8()]
    const whole = runOutput(options, { query, key, value })
    for (const rows of [1, 2, 31, 32, 33, 69]) {
      const cut = (t: Int8Tensor): Int8Tensor => ({
        ...t,
        dims: [1, 1, rows, headDim],
        data: t.data.subarray(0, rows * headDim),
      })
      const part = runOutput(options, { query: cut(query), key: cut(key), value: cut(value) })
      expectClose(part, whole.subarray(0, rows * headDim), 1e-6, `${rows} rows`)
    }
  })
})

describe('many objects at once', () => {
  test('give what they give alone', async () => {
    const problems = Array.from({ length: 12 }, (_, i) =>
      randomProblem(new Random(600 + i), { maxLength: 200, maxHeadDim: 64 }),
    )
    const alone = problems.map(({ options, inputs }) => Array.from(floats(runOnce(options, inputs).output)))
    const attentions = problems.map(({ options }) => new Attention(options))
    for (let round = 0; round < 5; round++) {
      const results = await Promise.all(attentions.map((attention, i) => attention.run(problems[i]!.inputs)))
      for (const [i, { output }] of results.entries()) expectIdentical(floats(output), alone[i]!, `object ${i}`)
    }
    for (const attention of attentions) attention.dispose()
  })
})
