import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import type { Addon } from '../src/addons/interface.js'
import { findAddon, loadAddon } from '../src/addons/load.js'
import type { Surroundings } from '../src/addons/surroundings.js'
import { Attention, engines, float64Attention, indexSoftmax, LoaderError, pipelines, quantize } from '../src/index.js'
import { readOptions, resolveOptions } from '../src/options/options.js'
import { NativeSession } from '../src/sessions/native-session.js'
import { checkProblem } from '../src/sessions/problem.js'
import { expectAgreement, floats, forSeeds, referenceRun, runOnce } from './support/agreement.js'
import { expectIdentical, relativeL2 } from './support/compare.js'
import { errorOf, expectTyped } from './support/errors.js'
import { randomProblem } from './support/problems.js'
import { program } from './support/project.js'
import { Random, seedOf } from './support/random.js'
import { tensor } from './support/tensors.js'

const acl = engines().find(({ name }) => name === 'acl')!
const options = { heads: 1, headDim: 8 }

describe('what engine acl needs is checked before its binary is loaded', () => {
  const root = mkdtempSync(join(tmpdir(), 'intattn-acl-'))
  afterAll(() => rmSync(root, { recursive: true }))
  const binary = program("process.emitWarning('loaded')", 'linux-arm64')
  const addon = {
    engine: 'acl',
    file: 'intattn_acl.node',
    size: binary.length,
    sha256: createHash('sha256').update(binary).digest('hex'),
    cpu: 'armv8.6-a',
    computeLibrary: '24.11',
    compiler: 'clang 19.1.7',
    requiredFeatures: ['asimd', 'asimddp', 'i8mm', 'bf16'],
  }
  const facts = { version: '1.0.0', platform: 'linux-arm64', addons: [addon] }
  const file = (name: string) => expect.stringMatching(`[/\\\\]${name.replaceAll('.', '\\.')}$`)
  let folders = 0

  /** A folder with an addon that would tell if it were loaded. */
  function built(manifest: unknown): string {
    const folder = join(root, `${folders++}`)
    mkdirSync(folder)
    writeFileSync(join(folder, 'intattn_acl.node'), binary)
    if (manifest !== undefined) {
      writeFileSync(join(folder, 'addons.json'), typeof manifest === 'string' ? manifest : JSON.stringify(manifest))
    }
    return folder
  }
  interface Machine {
    folder?: string
    platform?: string
    features?: readonly string[]
  }
  const surroundings = ({ folder = built(facts), platform = 'linux-arm64' }: Machine): Surroundings => ({
    version: '1.0.0',
    isCheckout: true,
    platform,
    system: () => undefined,
    places: [{ name: 'local build', folder, path: folder }],
  })
  async function refusal(machine: Machine): Promise<LoaderError> {
    const here = surroundings(machine)
    const { features = addon.requiredFeatures } = machine
    const warnings = vi.spyOn(process, 'emitWarning')
    const error = expectTyped(await errorOf(() => loadAddon('acl', here, features)), 'UNAVAILABLE', 'engine')
    expect(error).toBeInstanceOf(LoaderError)
    expect(warnings).not.toHaveBeenCalled()
    const loaderError = error as LoaderError
    expect(loaderError).toMatchObject({ engine: 'acl', platform: here.platform })
    expect(loaderError.detectedFeatures).toEqual(features)
    expect(loaderError.remedies.at(-1)).toContain("engine 'native'")
    expect(loaderError.tried).toHaveLength(1)
    // What is listed and what is thrown agree, but for what only loading can tell.
    const { reason: listed } = findAddon('acl', here, features)
    if (listed !== undefined) expect(loaderError.tried[0]!.reason).toBe(listed)
    return loaderError
  }
  afterEach(() => vi.restoreAllMocks())

  test.each(['linux-x64', 'darwin-x64', 'win32-ia32'])('a machine that is not arm64: %s', async (platform) => {
    const { tried, remedies } = await refusal({ platform, features: ['avx2'] })
    expect(tried[0]!.reason).toBe(`ComputeLibrary runs on arm64, and this is ${platform}`)
    expect(remedies).toHaveLength(1)
  })

  test('nothing built', async () => {
    const { tried, remedies } = await refusal({ folder: join(root, 'nowhere') })
    expect(tried).toEqual([{ path: file('addons.json'), reason: 'no such file' }])
    expect(remedies[0]).toContain('nx run acl:build')
  })

  test('half of it built', async () => {
    const { tried } = await refusal({ folder: built(undefined) })
    expect(tried).toEqual([{ path: file('addons.json'), reason: 'no such file' }])
    const folder = built(facts)
    rmSync(join(folder, 'intattn_acl.node'))
    const { tried: other } = await refusal({ folder })
    expect(other).toEqual([{ path: file('intattn_acl.node'), reason: 'no such file' }])
  })

  test('built without ComputeLibrary', async () => {
    const { size, sha256 } = addon
    const native = { engine: 'native', file: 'intattn.node', size, sha256, requiredFeatures: [] }
    const { tried, remedies } = await refusal({ folder: built({ ...facts, addons: [native] }) })
    expect(tried[0]!.reason).toBe("no addon of engine 'acl'")
    expect(remedies[0]).toMatch(/^build it with .*nx run acl:build/)
  })

  test.each([
    ['no JSON', '{', /JSON/],
    ['nothing in it', {}, /^version: expected/],
    ['no object', 'null', /null/],
    [
      'features that are no list',
      { ...addon, requiredFeatures: 'i8mm' },
      /^addons\[0\]\.requiredFeatures: expected a list/,
    ],
    [
      'features that are no names',
      { ...addon, requiredFeatures: [1] },
      /^addons\[0\]\.requiredFeatures\[0\]: expected/,
    ],
    ['no CPU', { ...addon, cpu: undefined }, /^addons\[0\]\.cpu: expected/],
  ])('a description that is not understood: %s', async (_, described, reason) => {
    const manifest =
      described instanceof Object && 'engine' in described ? { ...facts, addons: [described] } : described
    const { tried, remedies } = await refusal({ folder: built(manifest) })
    expect(tried).toEqual([{ path: file('addons.json'), reason: expect.stringMatching(reason) }])
    expect(remedies[0]).toContain('rebuild it')
  })

  test('built for another system', async () => {
    const { tried } = await refusal({ platform: 'darwin-arm64' })
    expect(tried[0]!.reason).toBe('built for linux-arm64, and this is darwin-arm64')
  })

  test('a CPU without features the code uses: it never runs', async () => {
    const { tried, requiredFeatures, remedies } = await refusal({ features: ['asimd', 'asimdhp', 'asimddp'] })
    expect(tried[0]!.reason).toBe('built for armv8.6-a, and this CPU lacks i8mm, bf16')
    expect(requiredFeatures).toEqual(addon.requiredFeatures)
    expect(remedies[0]).toContain('--cpu armv8.2-a')
  })

  test('a Mac without features has no build to fall back on but the native engine', async () => {
    const mac = { ...facts, platform: 'darwin-arm64', addons: [{ ...addon, cpu: 'apple-m2' }] }
    const { remedies } = await refusal({ folder: built(mac), platform: 'darwin-arm64', features: ['asimd'] })
    expect(remedies).toHaveLength(1)
  })

  test('a binary that does not load', async () => {
    const { tried, remedies, cause } = await refusal({})
    expect(tried[0]!.reason).not.toBe('no such file')
    expect(remedies[0]).toContain('rebuild it for linux-arm64')
    expect(cause).toBeInstanceOf(Error)
  })

  test('what it was built for is listed, also where it cannot run', () => {
    const { computeLibrary, cpu, compiler, requiredFeatures } = addon
    const library = { version: computeLibrary, target: 'linux-arm64', cpu, compiler, requires: requiredFeatures }
    const here = surroundings({})
    const found = findAddon('acl', here, requiredFeatures)
    expect(found).toMatchObject({ place: 'local build', entry: { library } })
    expect(found.reason).toBeUndefined()
    expect(findAddon('acl', here, [])).toMatchObject({ entry: { library }, reason: expect.stringContaining('lacks') })
    expect(findAddon('acl', surroundings({ platform: 'darwin-arm64' }), [])).toMatchObject({ entry: { library } })
  })
})

describe('what ComputeLibrary says', () => {
  test('when it refuses is an error of its own', async () => {
    const says = 'in validate src/File.cpp:12: shapes differ\nand more'
    class Refusing {
      run = async () => says
      runSync = () => says
      memoryBytes = () => 0
      dispose = () => {}
    }
    const addon = { Attention: Refusing, bestInstructionSet: () => 'scalar' } as unknown as Addon
    const resolved = resolveOptions(readOptions(options), 'acl')
    const session = new NativeSession({ name: 'acl', addon }, resolved)
    const t = tensor('float32', [1, 1, 1, 8], new Float32Array(8))
    const problem = checkProblem(resolved, {}, { query: t, key: t, value: t })
    for (const run of [() => session.run(problem), () => session.runSync(problem)]) {
      const { received } = expectTyped(await errorOf(run), 'ENGINE_FAILED', 'inputs')
      expect(received).toBe('in validate src/File.cpp:12: shapes differ')
    }
  })
})

describe('the choice of engine acl', () => {
  afterEach(() => vi.unstubAllEnvs())

  test('takes no instruction set', async () => {
    const bad = { ...options, engine: 'acl', isa: 'scalar' } as const
    expectTyped(await errorOf(() => new Attention(bad)), 'UNKNOWN_OPTION', 'isa')
  })

  test('is for attention: single steps name the engines they have', async () => {
    const scores = { scores: Int32Array.of(1), rows: 1, cols: 1, logitScale: 1 }
    const values = tensor('float32', [1, 1, 1, 1], [1])
    for (const step of [
      () => indexSoftmax({ ...scores, engine: 'acl' as never }),
      () => quantize({ values, scope: 'row', engine: 'acl' as never }),
    ]) {
      expect(expectTyped(await errorOf(step), 'INVALID_ARGUMENT', 'engine').expected).toContain("'native'")
    }
    vi.stubEnv('INTATTN_ENGINE', 'acl')
    expect(indexSoftmax(scores).rowSum[0]).toBe(16320)
    expect(quantize({ values, scope: 'row' }).quantized[0]).toBe(127)
  })

  test('by option or by environment variable gives it, or says why not', async () => {
    for (const variable of ['', 'acl']) {
      vi.stubEnv('INTATTN_ENGINE', variable)
      const create = () => new Attention(variable ? options : { ...options, engine: 'acl' })
      if (acl.available) {
        using attention = create()
        expect(attention).toMatchObject({ engine: 'acl', isa: undefined })
      } else {
        const error = expectTyped(await errorOf(create), 'UNAVAILABLE', 'engine')
        expect(error).toBeInstanceOf(LoaderError)
        expect(error.received).toContain(acl.reason)
      }
    }
  })
})

describe.skipIf(!acl.available)(`engine acl${acl.available ? '' : ` (not run here: ${acl.reason})`}`, () => {
  test('a long row is as exact as a short one', () => {
    const random = new Random(31)
    const [keyLength, headDim] = [40000, 16]
    const draw = (length: number) => tensor('float32', [1, 1, length, headDim], random.normals(length * headDim))
    const inputs = { query: draw(3), key: draw(keyLength), value: draw(keyLength), intermediates: true }
    const options = { preset: 'precise-1', heads: 1, headDim } as const
    const actual = runOnce({ ...options, engine: 'acl', threads: 2 }, inputs)
    expectAgreement(actual, referenceRun(options, inputs), 'int')
  })

  test('shapes that change from run to run', async () => {
    await forSeeds(seedOf(7000), 3, (seed) => {
      const random = new Random(seed)
      for (const pipeline of pipelines) {
        const { options } = randomProblem(random, { pipeline, maxLength: 4, maxHeadDim: 40 })
        const { heads, headDim, kvHeads = heads } = options
        using attention = new Attention({ ...options, engine: 'acl' })
        for (let run = 0; run < 12; run++) {
          const [batch, queryLength, keyLength] = [random.integer(1, 2), random.integer(1, 40), random.integer(1, 40)]
          const draw = (count: number, length: number) =>
            tensor('float32', [batch, count, length, headDim], random.normals(batch * count * length * headDim))
          const inputs = {
            query: draw(heads, queryLength),
            key: draw(kvHeads, keyLength),
            value: draw(kvHeads, keyLength),
          }
          expectAgreement(attention.runSync(inputs), referenceRun(options, inputs), pipeline, 'acl')
        }
      }
    })
  })

  test('objects with different numbers of threads take turns', async () => {
    const random = new Random(32)
    const draw = () => tensor('float32', [1, 2, 150, 32], random.normals(9600))
    const inputs = { query: draw(), key: draw(), value: draw() }
    const attentions = [1, 2, 3, 1, 4].map(
      (threads) => new Attention({ heads: 2, headDim: 32, engine: 'acl', threads }),
    )
    const expected = floats(attentions[0]!.runSync(inputs).output)
    for (let round = 0; round < 5; round++) {
      for (const { output } of await Promise.all(attentions.map((attention) => attention.run(inputs)))) {
        expectIdentical(floats(output), expected, 'output')
      }
    }
    for (const attention of attentions) attention.dispose()
  })

  test('stages add up to less than the total', () => {
    const random = new Random(33)
    const draw = () => tensor('float32', [1, 2, 100, 32], random.normals(6400))
    for (const pipeline of pipelines) {
      const { stages } = runOnce(
        { pipeline, heads: 2, headDim: 32, engine: 'acl' },
        { query: draw(), key: draw(), value: draw() },
      )
      const { total, ...parts } = stages
      for (const [name, time] of Object.entries(parts)) expect(time, name).toBeGreaterThan(0)
      expect(Object.values(parts).reduce((a, b) => a + b)).toBeLessThanOrEqual(total)
    }
  })

  test('scores that overflow before the softmax scale', async () => {
    const inputs = (x: number) => {
      const t = tensor('float32', [1, 1, 4, 4], new Float32Array(16).fill(x))
      return { query: t, key: t, value: t }
    }
    for (const [pipeline, fits, overflows] of [
      ['fp16', 100, 200],
      ['fp32', 1e18, 1e20],
    ] as const) {
      using attention = new Attention({ pipeline, heads: 1, headDim: 4, engine: 'acl' })
      attention.runSync(inputs(fits))
      const error = expectTyped(await errorOf(() => attention.runSync(inputs(overflows))), 'NON_FINITE', 'query')
      expect(error.expected).toContain(pipeline === 'fp16' ? 'float16' : 'float32')
    }
  })

  test('real sizes stay within bounds of float64 attention', () => {
    const random = new Random(34)
    const [length, headDim] = [700, 128]
    const draw = (spread: number) =>
      tensor('float32', [1, 1, length, headDim], random.normals(length * headDim, spread))
    const inputs = { query: draw(3), key: draw(1), value: draw(1) }
    const exact = float64Attention(inputs)
    for (const [pipeline, bound] of [
      ['fp32', 2e-6],
      ['fp16', 2e-2],
      ['int8', 0.08],
      ['int', 0.04],
    ] as const) {
      const { output } = runOnce({ pipeline, heads: 1, headDim, engine: 'acl', threads: 2 }, inputs)
      expect(relativeL2(floats(output), exact), pipeline).toBeLessThan(bound)
    }
  })
})
