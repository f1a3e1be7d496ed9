import { describe, expect, test } from 'vitest'
import {
  Attention,
  type AttentionOptions,
  blockPresets,
  type CacheInputs,
  type IntAttnError,
  KvCache,
  type KvCacheOptions,
  type TensorType,
} from '../src/index.js'
import { expectIdentical } from './support/compare.js'
import { blockChoices, describeEachBlockChoice } from './support/engines.js'
import { errorOf, expectTyped } from './support/errors.js'
import { Random, seedOf, shareOf } from './support/random.js'
import { tensor } from './support/tensors.js'

const histories = shareOf(Number(process.env.INTATTN_HISTORIES ?? 60))
/** Another one each minute. */
const seed = seedOf((Math.floor(Date.now() / 60_000) * 1000) % 2 ** 31)
console.log(`caches: ${histories} histories from seed ${seed}; INTATTN_HISTORIES and INTATTN_SEED set them`)

/** Rows of every KV head as they came, [kvHeads][token][dim]. */
type Side = Float32Array[][]

interface Branch {
  key: Side
  value: Side
  /** One for each engine and instruction set, in the order of `blockChoices`. */
  caches: KvCache[]
}

const rowsOf = (random: Random, kvHeads: number, count: number, dim: number, type: TensorType) =>
  tensor(type, [1, kvHeads, count, dim], random.normals(kvHeads * count * dim, random.pick([0.3, 1, 10])))

/** All rows of a side as one tensor. */
function whole(side: Side, dim: number) {
  const length = side[0]!.length
  const data = new Float32Array(side.length * length * dim)
  for (const [head, rows] of side.entries()) {
    for (const [j, row] of rows.entries()) data.set(row, (head * length + j) * dim)
  }
  return tensor('float32', [1, side.length, length, dim], data)
}

test(`histories of caches give the bits of whole keys and values, on every engine`, () => {
  for (let history = 0; history < histories; history++) play(new Random(seed + history))
})

function play(random: Random): void {
  const kvHeads = random.integer(1, 2)
  const [headDim, valueDim] = [random.pick([8, 16, 33, 64]), random.pick([8, 16, 24])]
  const window = random.chance(0.3) ? random.integer(1, 60) : undefined
  const options: AttentionOptions & KvCacheOptions = {
    ...{ kvHeads, headDim, valueDim, preset: random.pick(blockPresets), rotate: random.chance(0.8) },
    ...(random.chance(0.4) && { keyOffset: random.normals(kvHeads * headDim) }),
    ...(random.chance(0.4) && { valueOffset: random.normals(kvHeads * valueDim) }),
    heads: kvHeads * random.integer(1, 3),
  }
  const { keyOffset, valueOffset, heads, ...shared } = options
  const own = { heads, causal: random.chance(0.7), threads: random.integer(1, 2), ...(window && { window }) }
  const side = (): Side => Array.from({ length: kvHeads }, () => [])
  const { preset, rotate } = options
  const cacheOptions = { kvHeads, headDim, valueDim, preset: preset as 'precise', rotate: rotate! }
  const offsets = { ...(keyOffset && { keyOffset }), ...(valueOffset && { valueOffset }) }
  const branches: Branch[] = [
    {
      ...{ key: side(), value: side() },
      caches: blockChoices.map((choice) => new KvCache({ ...cacheOptions, ...offsets, ...choice })),
    },
  ]
  const attentions = blockChoices.map((choice) => new Attention({ ...shared, ...own, ...choice }))
  using reference = new Attention({
    ...{ ...shared, ...own, ...offsets, ...blockChoices[0] },
    ...(!keyOffset && { smoothKey: false }),
    ...(!valueOffset && { centerValue: false }),
  })
  for (let step = 0; step < 6; step++) {
    const branch = random.pick(branches)
    const length = branch.key[0]!.length
    const action = step === 0 ? 0 : random.integer(0, 6)
    if (action <= 3) {
      const count = random.pick([1, 1, 5, 64, 90])
      const key = rowsOf(random, kvHeads, count, headDim, 'float32')
      const value = rowsOf(random, kvHeads, count, valueDim, 'float32')
      for (const cache of branch.caches) cache.append({ key, value })
      for (const [to, { data }, dim] of [
        [branch.key, key, headDim],
        [branch.value, value, valueDim],
      ] as const) {
        for (let row = 0; row < kvHeads * count; row++) {
          to[Math.floor(row / count)]!.push((data as Float32Array).slice(row * dim, (row + 1) * dim))
        }
      }
    } else if (action === 4) {
      const kept = random.integer(0, length)
      for (const cache of branch.caches) cache.truncate(kept)
      for (const rows of [...branch.key, ...branch.value]) rows.length = kept
    } else if (action === 5 && branches.length < 3) {
      const copy = (from: Side) => from.map((rows) => [...rows])
      branches.push({
        ...{ key: copy(branch.key), value: copy(branch.value) },
        caches: branch.caches.map((cache) => cache.fork()),
      })
    } else {
      const saved = branch.caches.map((cache) => cache.save())
      for (const bytes of saved) expectIdentical(bytes, saved[0]!, 'saved bytes')
      branch.caches = branch.caches.map((cache, i) => {
        cache.dispose()
        return KvCache.load(saved[(i + 1) % saved.length]!, blockChoices[i]!)
      })
    }
    if (branch.key[0]!.length === 0) continue
    const queryLength = random.pick([1, 1, 3, 20])
    const query = rowsOf(random, heads, queryLength, headDim, 'float32')
    const { output } = reference.runSync({
      query,
      key: whole(branch.key, headDim),
      value: whole(branch.value, valueDim),
    })
    for (const [i, cache] of branch.caches.entries()) {
      const result = attentions[i]!.runSync({ query, cache })
      const { engine, isa } = cache
      expectIdentical(result.output.data, output.data, `seed ${random.seed}, ${isa ?? engine}`)
    }
  }
  for (const { caches } of branches) for (const cache of caches) cache.dispose()
  for (const attention of attentions) attention.dispose()
}

const dims = { kvHeads: 2, headDim: 16 }
const rows = (count: number, dim = 16): CacheInputs => {
  const random = new Random(count)
  return { key: rowsOf(random, 2, count, dim, 'float32'), value: rowsOf(random, 2, count, dim, 'float32') }
}

describeEachBlockChoice('a cache', (choice) => {
  const attention = () => new Attention({ ...dims, heads: 4, causal: true, ...choice })
  const query = tensor('float32', [1, 4, 1, 16], new Random(9).normals(64))

  test('takes every type of floats, in any layout', () => {
    using plain = new KvCache({ ...dims, ...choice })
    using strided = new KvCache({ ...dims, ...choice })
    const random = new Random(3)
    for (const type of ['float16', 'bfloat16'] as const) {
      const [key, value] = [rowsOf(random, 2, 7, 16, type), rowsOf(random, 2, 7, 16, type)]
      plain.append({ key, value })
      // [token][head][dim]
      const interleaved = (data: Uint16Array) =>
        Uint16Array.from({ length: 224 }, (_, i) => data[((i >> 4) & 1) * 112 + (i >> 5) * 16 + (i & 15)]!)
      const layout = (of: typeof key) => ({
        ...of,
        data: interleaved(of.data as Uint16Array),
        strides: [224, 16, 32, 1],
      })
      strided.append({ key: layout(key), value: layout(value) } as CacheInputs)
    }
    expectIdentical(strided.save(), plain.save(), 'rows')
  })

  test('keeps runs and changes apart, and lives until its runs are done', async () => {
    using runner = attention()
    const cache = new KvCache({ ...dims, ...choice })
    cache.append(rows(200))
    const run = runner.run({ query, cache })
    expectTyped(await errorOf(() => cache.append(rows(1))), 'BUSY', 'cache')
    expectTyped(await errorOf(() => cache.truncate(1)), 'BUSY', 'cache')
    cache.dispose()
    expectTyped(await errorOf(() => cache.length), 'DISPOSED', 'cache')
    const { output } = await run
    using again = new KvCache({ ...dims, ...choice })
    again.append(rows(200))
    expectIdentical(output.data, runner.runSync({ query, cache: again }).output.data, 'output')
    expectTyped(await errorOf(() => runner.runSync({ query, cache })), 'DISPOSED', 'cache')
    expect(cache.bytes).toBe(0)
  })

  test('shares memory with its forks', () => {
    using cache = new KvCache({ ...dims, ...choice })
    cache.append(rows(300))
    using fork = cache.fork()
    fork.append(rows(10))
    expect([cache.length, fork.length]).toEqual([300, 310])
    expectIdentical(fork.read(0, 300).key, cache.read().key, 'shared rows')
  })

  test('frees what a window has left', async () => {
    using cache = new KvCache({ ...dims, ...choice })
    for (let i = 0; i < 4; i++) cache.append(rows(1000))
    cache.release({ window: 500 })
    using narrow = new Attention({ ...dims, heads: 4, causal: true, window: 500, ...choice })
    using wide = attention()
    narrow.runSync({ query, cache })
    expectTyped(await errorOf(() => wide.runSync({ query, cache })), 'INVALID_ARGUMENT', 'cache')
    expectTyped(await errorOf(() => cache.truncate(2000)), 'INVALID_ARGUMENT', 'length')
    expectTyped(await errorOf(() => cache.read(0, 10)), 'INVALID_ARGUMENT', 'first')
    cache.truncate(3900)
    using loaded = KvCache.load(cache.save(), choice)
    expectIdentical(
      narrow.runSync({ query, cache: loaded }).output.data,
      narrow.runSync({ query, cache }).output.data,
      'output',
    )
  })

  test.each<[what: string, code: string, argument: string | RegExp, act: (cache: KvCache) => unknown]>([
    [
      'a preset that differs',
      'SHAPE_MISMATCH',
      'cache.options.keyBits',
      (cache) => new Attention({ ...dims, heads: 4, preset: 'fast', ...choice }).runSync({ query, cache }),
    ],
    [
      'a pipeline without caches',
      'UNKNOWN_OPTION',
      'cache',
      (cache) => new Attention({ ...dims, heads: 4, pipeline: 'fp32', ...choice }).runSync({ query, cache }),
    ],
    [
      'a batch of another size',
      'SHAPE_MISMATCH',
      'cache',
      (cache) => attention().runSync({ query, cache: [cache, cache] }),
    ],
    [
      'no cache',
      'INVALID_ARGUMENT',
      'cache[0]',
      () => attention().runSync({ query, cache: [{}] as unknown as KvCache[] }),
    ],
    ['keys beside it', 'UNKNOWN_OPTION', 'key', (cache) => attention().runSync({ query, cache, ...rows(1) } as never)],
    [
      'an offset of the attention',
      'UNKNOWN_OPTION',
      'keyOffset',
      (cache) =>
        new Attention({ ...dims, heads: 4, keyOffset: new Float32Array(32), ...choice }).runSync({ query, cache }),
    ],
    ['rows of another dimension', 'SHAPE_MISMATCH', 'key.dims[3]', (cache) => cache.append(rows(1, 8))],
    ['more rows than a sequence may have', 'INVALID_ARGUMENT', 'keys', (cache) => cache.reserve(262145)],
    ['a length beyond', 'INVALID_ARGUMENT', 'length', (cache) => cache.truncate(101)],
    ['a window of nothing', 'INVALID_ARGUMENT', 'window', (cache) => cache.release({ window: 0 })],
    ['rows that are not there', 'INVALID_ARGUMENT', 'count', (cache) => cache.read(90, 11)],
    ['other bytes', 'INVALID_ARGUMENT', 'bytes', () => KvCache.load(new Uint8Array(1000), choice)],
    [
      'bytes that were cut off',
      'INVALID_ARGUMENT',
      'bytes',
      (cache) => KvCache.load(cache.save().subarray(0, -1), choice),
    ],
    ['no bytes', 'INVALID_ARGUMENT', 'bytes', () => KvCache.load('cache' as never, choice)],
    ['the engine of ComputeLibrary', 'UNAVAILABLE', 'engine', () => new KvCache({ ...dims, engine: 'acl' })],
    ['an option that does not exist', 'UNKNOWN_OPTION', 'heads', () => new KvCache({ ...dims, heads: 4 } as never)],
    ['bits that do not exist', 'INVALID_ARGUMENT', 'keyBits', () => new KvCache({ ...dims, keyBits: 5 as 4 })],
  ])('refuses %s', async (_, code, argument, act) => {
    using cache = new KvCache({ ...dims, ...choice })
    cache.append(rows(100))
    const before = cache.save()
    expectTyped(await errorOf(() => act(cache)), code, argument)
    expectIdentical(cache.save(), before, 'the cache')
  })

  test('damaged bytes are refused, wherever they were damaged', async () => {
    using cache = new KvCache({ ...dims, ...choice })
    cache.append(rows(70))
    const saved = cache.save()
    const random = new Random(seed)
    for (let i = 0; i < 40; i++) {
      const damaged = Uint8Array.from(saved)
      damaged[random.integer(0, saved.length - 1)]! ^= 1 << random.integer(0, 7)
      expectTyped(await errorOf(() => KvCache.load(damaged, choice)), 'INVALID_ARGUMENT', 'bytes')
    }
  })
})

describe('caches of several engines', () => {
  test.skipIf(blockChoices.length < 2)('do not mix', async () => {
    const [one, another] = blockChoices as [(typeof blockChoices)[number], (typeof blockChoices)[number]]
    using cache = new KvCache({ ...dims, ...one })
    using runner = new Attention({ ...dims, heads: 4, ...another })
    const query = tensor('float32', [1, 4, 1, 16], new Float32Array(64))
    const error = (await errorOf(() => runner.runSync({ query, cache }))) as IntAttnError
    expectTyped(error, 'INVALID_ARGUMENT', /^cache\.(engine|isa)$/)
  })
})
