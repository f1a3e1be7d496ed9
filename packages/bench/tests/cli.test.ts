import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { blockPresets, defaultPreset, engines } from '@intattn/acl'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findPeer } from './peer.js'
import { float32Tensor, safetensorsFile } from './safetensors-file.js'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const withoutOnnxruntime = new URL('without-onnxruntime.mjs', import.meta.url).href
const { missing } = await findPeer()
const native = engines().find(({ name }) => name === 'native')!

interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

interface Settings {
  environment?: Record<string, string>
  /** Options of node itself. */
  node?: string[]
  /** Called with everything on stdout so far, whenever there is more. */
  onOutput?: (stdout: string, interrupt: () => void) => void
  /** File descriptors to write to. */
  stdout?: number
  stderr?: number
  /** Read the first piece of stdout only, like `head`. */
  hangUp?: boolean
}

function bench(flags: string[], settings: Settings = {}): Promise<Ended> {
  const { environment = {}, node = [], onOutput, hangUp = false } = settings
  const { INTATTN_ENGINE: _engine, INTATTN_ISA: _isa, ...inherited } = process.env
  const child = spawn(process.execPath, [...node, main, ...flags], {
    env: { ...inherited, ...environment },
    cwd: folder,
    stdio: ['ignore', settings.stdout ?? 'pipe', settings.stderr ?? 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk) => {
    stdout += chunk
    if (hangUp) child.stdout?.destroy()
    onOutput?.(stdout, () => child.kill('SIGINT'))
  })
  child.stderr?.on('data', (chunk) => {
    stderr += chunk
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

const small = ['--engine', 'reference', '--L', '24', '--d', '8', '--runs', '3', '--warmup', '1']

/** Makes a process look as if it ran in a container with 64 MiB of memory. */
const container = `
  const files = {
    '/proc/self/cgroup': '0::/',
    '/proc/self/mountinfo': '30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup rw',
    '/sys/fs/cgroup/memory.max': '67108864',
  }
  const fs = require('node:fs')
  const { readFileSync } = fs
  fs.readFileSync = (path, ...others) => files[path] ?? readFileSync(path, ...others)
  require('node:module').syncBuiltinESMExports()`

let folder: string
beforeAll(() => {
  if (!existsSync(main)) throw new Error('dist/main.js is missing: npm run build first')
  folder = mkdtempSync(join(tmpdir(), 'intattn-bench-'))
  const tensor = (heads: number, length = 12, headDim = 4) =>
    float32Tensor([1, heads, length, headDim], (i) => Math.sin(i))
  const write = (name: string, bytes: Uint8Array) => writeFileSync(join(folder, name), bytes)
  write(
    'sound.safetensors',
    safetensorsFile({ query: tensor(4), key: tensor(2), value: tensor(2) }, { causal: 'true' }),
  )
  write(
    'scale.safetensors',
    safetensorsFile({ query: tensor(4), key: tensor(2), value: tensor(2) }, { softmax_scale: '1e31' }),
  )
  write('short-query.safetensors', safetensorsFile({ query: tensor(2, 5), key: tensor(2), value: tensor(2) }))
  write('broken.safetensors', safetensorsFile({ query: tensor(4), key: tensor(3), value: tensor(3) }))
  write('text.safetensors', Buffer.from('not a safetensors file at all'))
  mkdirSync(join(folder, 'directory'))
  writeFileSync(join(folder, 'container.cjs'), container)
})
afterAll(() => rmSync(folder, { recursive: true }))

const finite = expect.toSatisfy((x: unknown) => typeof x === 'number' && Number.isFinite(x), 'a finite number')
const positive = expect.toSatisfy(
  (x: unknown) => typeof x === 'number' && x > 0 && Number.isFinite(x),
  'a positive number',
)
const timing = {
  L: 24,
  queryLength: 24,
  d: 8,
  heads: 1,
  kvHeads: 1,
  batch: 1,
  causal: false,
  window: null,
  threads: 1,
  input: 'synthetic normal, seed 1',
  inputType: 'float32',
  seed: 1,
  warmup: 1,
  runs: 3,
  minMs: positive,
  medianMs: positive,
  p95Ms: positive,
  samplesMs: [positive, positive, positive],
  gmacPerSecond: positive,
  accuracy: { relL2: finite, cosine: finite, maxAbs: finite, rows: 24 },
}
const result = {
  ...timing,
  engine: 'reference',
  isa: null,
  stagesMs: { prepare: finite, scores: finite, softmax: finite, values: finite, output: finite },
  callOverheadUs: finite,
  memoryBytes: finite,
  ratioToFp32: positive,
  ratioToAclFp16: null,
  layout: 'whole',
  cacheBytes: null,
  readBytes: positive,
  gigabytesPerSecond: positive,
  shareOfBandwidth: null,
}
const rows = [
  { pipeline: 'fp32', preset: null },
  { pipeline: 'fp16', preset: null },
  { pipeline: 'int8', preset: 'paper' },
  { pipeline: 'int', preset: 'paper' },
  { pipeline: 'int', preset: defaultPreset },
]
const machine = {
  cpu: expect.any(String),
  cores: positive,
  availableThreads: positive,
  memoryGiB: finite,
  os: expect.any(String),
  arch: process.arch,
  power: expect.toSatisfy((power: unknown) => power === null || typeof power === 'string'),
  load: finite,
  node: process.version,
  version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
  commit: expect.toSatisfy((commit: unknown) => commit === null || /^[0-9a-f]{12,}(-dirty)?$/.test(commit as string)),
  engines: engines(),
}

describe('results', () => {
  it('prints machine, table and notes, and nothing on stderr', async () => {
    const { code, stdout, stderr } = await bench(small)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^intattn-bench \d+\.\d+\.\d+/)
    expect(stdout).toContain(`\nbuilt    native by ${native.compiler}`)
    expect(stdout).toContain(`Node ${process.version}`)
    expect(stdout).toContain(
      'L 24, d 8, heads 1, kvHeads 1; synthetic normal, seed 1; float32 in; threads 1; warmup 1, runs 3',
    )
    expect(stdout).toMatch(/pipeline +engine +isa +preset +min ms +median ms +p95 ms +GMAC\/s +x fp32 +rel. L2 +cosine/)
    for (const { pipeline, preset } of rows) {
      expect(stdout).toMatch(new RegExp(`^${pipeline} +reference +– +${preset ?? '–'} +[\\d.]+ `, 'm'))
    }
    expect(stdout).toContain('GMAC/s: useful multiply-accumulates, 2 x visible (query, key) pairs x d x heads')
    expect(stdout).toMatch(
      new RegExp(`^int, paper: [\\d.]+ x as fast as fp32; rel. L2 error [\\d.]+\nint, ${defaultPreset}: `, 'm'),
    )
    expect(stdout).toMatch(/[\d.]+ µs runSync, [\d.]+ µs await run \(warm, one token, one thread\)/)
  })

  it('puts several sizes side by side, each contender with the medians of its tables', async () => {
    const flags = ['--engine', 'reference', '--pipe', '0,3', '--warmup', '0', '--runs', '2', '--d', '8']
    const { stdout } = await bench([...flags, '--L', '8,16'])
    const [tables = '', overview = ''] = stdout.split('All sizes: median ms (times as fast as fp32 of the same engine)')
    expect(overview).toMatch(/^\npipeline +engine +preset +L 8 +L 16\n/)
    for (const contender of ['fp32 +reference', 'int +reference +– +paper', `int +reference +– +${defaultPreset}`]) {
      const medians = [...tables.matchAll(new RegExp(`^${contender} +(?:– +)*[\\d.]+ +([\\d.]+) +`, 'gm'))].map(
        ([, ms]) => ms,
      )
      expect(medians).toHaveLength(2)
      const cells = medians.map((ms) => `${ms} \\([\\d.]+\\)`).join(' +')
      expect(overview).toMatch(new RegExp(`^${contender.replace(' +– ', ' ')} .*${cells}$`, 'm'))
    }
    expect((await bench([...flags, '--L', '8'])).stdout).not.toContain('All sizes')
    expect((await bench([...flags, '--L', '8', '--d', '4,8'])).stdout).toMatch(/ +L 8, d 4 +L 8, d 8\n/)
  })

  it('prints a 95th percentile of 20 runs, not of fewer', async () => {
    const flags = ['--engine', 'reference', '--L', '8', '--d', '8', '--warmup', '0', '--pipe', '0']
    const few = await bench([...flags, '--runs', '19'])
    expect(few.stdout).toMatch(/^fp32 +reference +– +– +[\d.]+ +[\d.]+ +– +/m)
    expect(few.stdout).toContain('p95: – with fewer than 20 runs.')
    const enough = await bench([...flags, '--runs', '20'])
    expect(enough.stdout).toMatch(/^fp32 +reference +– +– +[\d.]+ +[\d.]+ +[\d.]+ +/m)
    expect(enough.stdout).not.toContain('p95: –')
  })

  it('prints JSON of the schema, and nothing else, with --json -', async () => {
    const { code, stdout, stderr } = await bench([...small, '--json', '-'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toEqual({
      schema: 'intattn-bench/1',
      machine,
      callOverheadUs: { runSync: positive, run: positive },
      results: rows.map((row) => ({ ...result, ...row })),
      peers: [],
    })
  })

  it('states statistics and work that follow from the samples', async () => {
    const { stdout } = await bench([...small, '--causal', '--heads', '4', '--kv-heads', '2', '--json', '-'])
    for (const row of JSON.parse(stdout).results) {
      expect(row.minMs).toBe(Math.min(...row.samplesMs))
      expect(row.medianMs).toBe([...row.samplesMs].sort((left, right) => left - right)[1])
      const macs = 2 * ((24 * 25) / 2) * 8 * 4
      expect(row.gmacPerSecond).toBeCloseTo(macs / row.medianMs / 1e6, 9)
      expect(row).toMatchObject({ causal: true, heads: 4, kvHeads: 2 })
    }
  })

  it('knows how exact each pipeline is', async () => {
    const { stdout } = await bench([...small, '--L', '200', '--d', '32', '--runs', '1', '--json', '-'])
    const [fp32, fp16, int8, paper, precise] = JSON.parse(stdout).results.map(
      (row: typeof result) => row.accuracy.relL2,
    )
    expect(fp32).toBeLessThan(1e-6)
    expect(fp16).toBeLessThan(3e-3)
    for (const error of [int8, paper]) {
      expect(error).toBeGreaterThan(precise)
      expect(error).toBeLessThan(0.5)
    }
    expect(precise).toBeGreaterThan(1e-3)
    expect(precise).toBeLessThan(0.05)
  })

  it('writes a JSON file whole, beside the table, and leaves nothing else', async () => {
    const { code, stdout } = await bench([...small, '--json', 'directory/result.json'])
    expect(code).toBe(0)
    expect(stdout).toContain('median ms')
    expect(readdirSync(join(folder, 'directory'))).toEqual(['result.json'])
    const { schema, results } = JSON.parse(readFileSync(join(folder, 'directory/result.json'), 'utf8'))
    expect(schema).toBe('intattn-bench/1')
    expect(results.length).toBe(5)
  })

  it.skipIf(process.platform === 'win32')('keeps mode and hard links of a file whose results it replaces', async () => {
    mkdirSync(join(folder, 'kept'))
    const path = join(folder, 'kept/result.json')
    writeFileSync(path, 'x'.repeat(1e6), { mode: 0o604 })
    linkSync(path, join(folder, 'kept/linked.json'))
    expect(await bench([...small, '--json', path])).toMatchObject({ code: 0, stderr: '' })
    expect(statSync(path).mode & 0o777).toBe(0o604)
    expect(JSON.parse(readFileSync(join(folder, 'kept/linked.json'), 'utf8')).results.length).toBe(5)
    expect(readdirSync(join(folder, 'kept'))).toEqual(['linked.json', 'result.json'])
  })

  it('writes JSON into a file with as long a name as there can be', async () => {
    const name = `${'n'.repeat(250)}.json`
    expect(await bench([...small, '--json', name])).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(readFileSync(join(folder, name), 'utf8')).results.length).toBe(5)
  })

  it('leaves an existing file alone where nothing is measured', async () => {
    writeFileSync(join(folder, 'old.json'), 'old')
    expect(await bench(['--input', 'absent', '--json', 'old.json'])).toMatchObject({ code: 2 })
    expect(readFileSync(join(folder, 'old.json'), 'utf8')).toBe('old')
    expect(await bench(['--input', 'absent', '--json', 'new.json'])).toMatchObject({ code: 2 })
    expect(existsSync(join(folder, 'new.json'))).toBe(false)
  })

  it.skipIf(!existsSync('/dev/full'))('prints the results that it cannot write, and says so', async () => {
    const { code, stdout, stderr } = await bench([...small, '--json', '/dev/full'])
    expect(code).toBe(1)
    expect(stderr).toBe("intattn-bench: cannot write '/dev/full' (ENOSPC); the results go to stdout\n")
    const [table, json] = stdout.split(/(?=^\{)/m)
    expect(table).toContain('median ms')
    expect(JSON.parse(json!).results.length).toBe(5)
  })

  it.skipIf(process.platform === 'win32')('writes JSON through a symbolic link', async () => {
    mkdirSync(join(folder, 'links'))
    writeFileSync(join(folder, 'links/target.json'), 'before')
    symlinkSync('target.json', join(folder, 'links/link.json'))
    symlinkSync('new.json', join(folder, 'links/dangling.json'))
    for (const [link, target] of [
      ['link', 'target'],
      ['dangling', 'new'],
    ]) {
      const { code, stderr } = await bench([...small, '--json', `links/${link}.json`])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(lstatSync(join(folder, `links/${link}.json`)).isSymbolicLink()).toBe(true)
      expect(JSON.parse(readFileSync(join(folder, `links/${target}.json`), 'utf8')).results.length).toBe(5)
    }
    expect(readdirSync(join(folder, 'links')).length).toBe(4)
  })

  it.skipIf(process.platform === 'win32')('writes JSON into a named pipe', async () => {
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    const [text, { code, stderr }] = await Promise.all([
      readFile(pipe, 'utf8'),
      bench([...small, '--json', 'pipe']).finally(() => {
        // Should nobody have written, the reader must not wait for ever.
        closeSync(openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK))
      }),
    ])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(lstatSync(pipe).isFIFO()).toBe(true)
    expect(JSON.parse(text).results.length).toBe(5)
  })

  it('finishes the JSON file when nobody reads the tables', async () => {
    const flags = [...small, '--L', '24,32,40', '--json', 'unread.json']
    const { code, stderr } = await bench(flags, { hangUp: true })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(readFileSync(join(folder, 'unread.json'), 'utf8')).results.length).toBe(15)
  })

  it('stops quietly when nobody reads and there is no file to write', async () => {
    const { code, signal, stderr } = await bench([...small, '--L', '24,32,40'], { hangUp: true })
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  })

  it.skipIf(!existsSync('/dev/full')).each([[small], [['--help']], [['--version']], [[...small, '--json', '-']]])(
    'says in one line that stdout cannot be written: %j',
    async (flags) => {
      const stdout = openSync('/dev/full', 'w')
      const { code, stderr } = await bench(flags, { stdout })
      closeSync(stdout)
      expect({ code, stderr }).toEqual({ code: 1, stderr: 'intattn-bench: cannot write to stdout (ENOSPC)\n' })
    },
  )

  it.skipIf(!existsSync('/dev/full'))('finishes the JSON file when stdout cannot be written', async () => {
    const stdout = openSync('/dev/full', 'w')
    const { code, stderr } = await bench([...small, '--json', 'beside.json'], { stdout })
    closeSync(stdout)
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'intattn-bench: cannot write to stdout (ENOSPC)\n' })
    expect(JSON.parse(readFileSync(join(folder, 'beside.json'), 'utf8')).results.length).toBe(5)
  })

  it.skipIf(!existsSync('/dev/full'))(
    'measures where stderr cannot be written, and tells by its exit code',
    async () => {
      const stderr = openSync('/dev/full', 'w')
      expect(await bench(small, { stderr })).toMatchObject({ code: 0, stdout: expect.stringContaining('median ms') })
      expect(await bench(['--L', '0'], { stderr })).toMatchObject({ code: 2, signal: null })
      closeSync(stderr)
    },
  )

  it.skipIf(process.platform === 'win32').each(['--help', '--version'])(
    '%s ends quietly when nobody reads at all',
    async (flag) => {
      const command = '{ sleep 0.3; "$0" "$@"; echo "code $?" >&2; } | true'
      const { stdout, stderr } = spawnSync('sh', ['-c', command, process.execPath, main, flag], { encoding: 'utf8' })
      expect({ stdout, stderr }).toEqual({ stdout: '', stderr: 'code 0\n' })
    },
  )

  it('measures every length and head dim, one table each', async () => {
    const { stdout } = await bench([...small, '--L', '8,16', '--d', '4,6', '--pipe', '0,3', '--preset', 'precise-1'])
    const titles = stdout.match(/^L \d+, d \d+/gm)
    expect(titles).toEqual(['L 8, d 4', 'L 16, d 4', 'L 8, d 6', 'L 16, d 6'])
    const [tables = '', overview = ''] = stdout.split('All sizes')
    expect([tables, overview].map((text) => text.match(/^(fp32|int) /gm)!.length)).toEqual([8, 2])
  })

  it('leaves the ratio to fp32 open when fp32 is not measured', async () => {
    const { stdout } = await bench([...small, '--pipe', '3', '--json', '-'])
    expect(JSON.parse(stdout).results).toMatchObject([
      { pipeline: 'int', preset: 'paper', ratioToFp32: null },
      { pipeline: 'int', preset: defaultPreset, ratioToFp32: null },
    ])
  })

  it.each(['float16', 'bfloat16', 'int8'])('gives the pipelines %s', async (type) => {
    const { stdout } = await bench([...small, '--L', '64', '--input-type', type, '--json', '-'])
    const { results } = JSON.parse(stdout)
    expect(results.length).toBe(type === 'int8' ? 3 : 5)
    for (const { inputType, accuracy } of results) {
      expect(inputType).toBe(type)
      expect(accuracy.cosine).toBeGreaterThan(0.95)
    }
    expect(results.at(-1).accuracy.relL2).toBeLessThan(0.05)
  })

  it('reads an input file, whole and its first tokens', async () => {
    const flags = [
      '--input',
      'sound.safetensors',
      '--engine',
      'reference',
      '--runs',
      '1',
      '--warmup',
      '0',
      '--json',
      '-',
    ]
    const whole = JSON.parse((await bench(flags)).stdout).results[0]
    const shape = { d: 4, heads: 4, kvHeads: 2, causal: true, input: 'sound.safetensors' }
    expect(whole).toMatchObject({ ...shape, L: 12, queryLength: 12 })
    const cut = JSON.parse((await bench([...flags, '--L', '5', '--no-causal'])).stdout).results[0]
    expect(cut).toMatchObject({ ...shape, L: 5, queryLength: 5, causal: false })
    const short = JSON.parse((await bench([...flags, '--input', 'short-query.safetensors', '--causal'])).stdout)
      .results[0]
    expect(short).toMatchObject({ L: 12, queryLength: 5, causal: true })
    expect(short.accuracy.relL2).toBeLessThan(1e-6)
  })

  it.skipIf(process.platform === 'win32')(
    'shows no name of a file raw, neither in the table nor in the JSON',
    async () => {
      const name = 'a\u202e\x1b[2J\x9b\u2028\nb.safetensors'
      copyFileSync(join(folder, 'sound.safetensors'), join(folder, name))
      const flags = ['--engine', 'reference', '--pipe', '0', '--runs', '1', '--warmup', '0', '--input', name]
      const table = await bench(flags)
      const json = await bench([...flags, '--json', '-'])
      for (const text of [table, json].map(({ stdout }) => stdout))
        expect(text).not.toMatch(/[^\P{C}\n]|[\u2028\u2029]/u)
      expect(table.stdout).toContain('; a\\u{202e}\\u{1b}[2J\\u{9b}\\u{2028}\\u{a}b.safetensors; ')
      expect(JSON.parse(json.stdout).results[0].input).toBe(name)
      rmSync(join(folder, name))
    },
  )

  it.each(['flat', 'peaky', 'sink'])('makes the synthetic input %s', async (kind) => {
    const { code, stdout } = await bench([...small, '--synthetic', kind, '--seed', '9'])
    expect(code).toBe(0)
    expect(stdout).toContain(`synthetic ${kind}, seed 9`)
  })

  it.skipIf(!native.available)(
    `runs the native engine on the bundled input without flags${native.available ? '' : `: ${native.reason}`}`,
    async () => {
      const { code, stdout, stderr } = await bench(['--runs', '2', '--warmup', '0', '--threads', '2', '--json', '-'])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      const { results } = JSON.parse(stdout)
      expect(
        results.map(({ pipeline, preset }: typeof result & { pipeline: string; preset: string }) => ({
          pipeline,
          preset,
        })),
      ).toEqual(rows)
      for (const row of results) {
        expect(row).toMatchObject({
          engine: 'native',
          isa: expect.any(String),
          threads: 2,
          L: 1024,
          d: 64,
          causal: true,
        })
        expect(Object.values(row.stagesMs).every((ms) => (ms as number) >= 0)).toBe(true)
        expect(row.accuracy.cosine).toBeGreaterThan(0.97)
      }
      expect(results[0].accuracy.relL2).toBeLessThan(1e-5)
      expect(results[4].accuracy.relL2).toBeLessThan(0.05)
    },
  )

  it.skipIf(!native.available)(
    `compares numbers of threads in one table${native.available ? '' : `: ${native.reason}`}`,
    async () => {
      const flags = ['--L', '64', '--d', '16', '--threads', '1,2', '--pipe', '0,3', '--runs', '2', '--warmup', '0']
      const { stdout } = await bench([...flags, '--json', 'threads.json'])
      expect(stdout.match(/^L 64/gm)!.length).toBe(1)
      expect(stdout).toMatch(/preset +threads +min ms/)
      const { results } = JSON.parse(readFileSync(join(folder, 'threads.json'), 'utf8'))
      expect(results.map(({ threads }: typeof timing) => threads)).toEqual([1, 1, 1, 2, 2, 2])
      for (const { ratioToFp32 } of results) expect(ratioToFp32).toBeGreaterThan(0)
    },
  )
})

describe.skipIf(missing)(`--peer onnxruntime${missing ? `: ${missing}` : ''}`, () => {
  it('adds a row and its JSON', async () => {
    const { code, stdout, stderr } = await bench([...small, '--peer', 'onnxruntime', '--json', 'peer.json'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^fp32 +onnxruntime +– /m)
    expect(stdout).toMatch(/x fp32 +x onnxruntime +rel. L2/)
    expect(stdout).toContain('com.microsoft.MultiHeadAttention, float32 in, timed from JavaScript')
    const { peers } = JSON.parse(readFileSync(join(folder, 'peer.json'), 'utf8'))
    expect(peers).toEqual([
      {
        ...timing,
        name: 'onnxruntime',
        version: expect.stringMatching(/^\d+\.\d+/),
        operator: 'com.microsoft.MultiHeadAttention',
        callOverheadMs: positive,
      },
    ])
    expect(peers[0].accuracy.relL2).toBeLessThan(1e-5)
  })

  it('says what it does for grouped heads and causal masks', async () => {
    const { stdout } = await bench([...small, '--heads', '2', '--kv-heads', '1', '--causal', '--peer', 'onnxruntime'])
    expect(stdout).toContain('keys and values are repeated before the time is taken')
    expect(stdout).toContain('under a causal mask the operator computes and stores all heads x L x L scores')
    expect(stdout).toContain('its transposes are part of its time')
  })
})

describe('decode', () => {
  const flags = ['--heads', '4', '--kv-heads', '2', '--d', '16', '--runs', '3', '--warmup', '1', '--threads', '1']

  it('measures one query over a cache with each preset, beside fp32', async () => {
    const { code, stdout, stderr } = await bench(['--past', '100,70', '--window', '50', ...flags, '--json', '-'])
    expect(stderr).toBe('')
    expect(code).toBe(0)
    const { results } = JSON.parse(stdout)
    const rows = (results as Record<string, number>[]).map(({ L, preset, layout }) => [L, preset, layout])
    expect(rows).toEqual(
      [100, 70].flatMap((past) => [[past, null, 'whole'], ...blockPresets.map((preset) => [past, preset, 'pages'])]),
    )
    for (const { queryLength, window, causal, layout, readBytes, cacheBytes, accuracy } of results) {
      expect({ queryLength, window, causal }).toEqual({ queryLength: 1, window: 50, causal: true })
      expect(cacheBytes === null).toBe(layout === 'whole')
      expect(readBytes).toBeGreaterThan(0)
      expect(accuracy.relL2).toBeLessThan(0.15)
    }
  })

  it('prints bytes and rates', async () => {
    const { code, stdout } = await bench(['--decode', '--layout', 'whole,pages', '--preset', 'precise', '--runs', '1'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^past 1024, d 64, heads 9, kvHeads 3, causal; /m)
    expect(stdout).toMatch(/layout .* bytes .* GB\/s .* of read/)
    expect(stdout).toMatch(/bytes: of the cache, per token and KV head/)
    expect(stdout.match(/precise .* (whole|pages) /g)).toHaveLength(2)
  })
})

describe('texts', () => {
  it('prints help and version', async () => {
    const help = await bench(['--help'])
    expect(help).toMatchObject({ code: 0, stderr: '' })
    for (const flag of [
      '--pipe',
      '--L',
      '--d',
      '--heads',
      '--kv-heads',
      '--causal',
      '--warmup',
      '--runs',
      '--threads',
      '--engine',
    ]) {
      expect(help.stdout).toContain(`  ${flag} `)
    }
    for (const flag of ['--isa', '--preset', '--input', '--input-type', '--synthetic', '--seed', '--peer', '--json']) {
      expect(help.stdout).toContain(`  ${flag} `)
    }
    expect(await bench(['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      stderr: '',
    })
  })
})

describe('errors', () => {
  const absentIsa = process.arch === 'x64' ? 'neon-i8mm' : 'avx2'
  it.each<[string[], RegExp, Settings?]>([
    [['--frobnicate'], /^argument --frobnicate: expected a known flag/],
    [['--casual'], /^argument --casual: expected a known flag, such as --causal/],
    [['extra'], /^argument 'extra': expected flags only/],
    [['--L'], /^argument --L: expected a value, received nothing/],
    [['--L', '0'], /^argument --L: expected an integer 1 … 16777216, received '0'/],
    [['--L', '-4'], /^argument --L: expected an integer .*, received '-4'/],
    [['--L', 'NaN'], /^argument --L: .*received 'NaN'/],
    [['--L', '1.5'], /^argument --L: .*received '1.5'/],
    [['--L', '1e3'], /^argument --L: .*received '1e3'/],
    [['--L', '64,,128'], /^argument --L: .*received ''/],
    [['--L', '99999999999999999999'], /^argument --L: .*received '99999999999999999999'/],
    [
      ['--L', '8,300000', '--pipe', '3'],
      /^argument --L: expected at most (263172|262144) for the pipeline int, received 300000$/m,
    ],
    [['--past', '10', '--L', '10'], /^argument --L: expected no --decode or --past beside it/],
    [['--past', '10', '--pipe', '0', '--layout', 'pages'], /^argument --layout: expected the pipeline 3 beside it/],
    [
      ['--past', '10', '--preset', 'paper'],
      /^argument --layout: expected one of --preset precise, .* beside it, received 'pages' and 'paper'/,
    ],
    [['--past', '8,300000', '--pipe', '3'], /^argument --past: expected at most 262144 for the pipeline int/],
    [['--layout', 'rows'], /^argument --layout: expected one of whole, pages, received 'rows'/],
    [['--threads', '1,2'], /^argument --threads: expected 1, as the reference engine has one thread, received 1,2/],
    [['--pipe', '0,1', '--preset', 'paper'], /^argument --preset: expected the pipeline 2 or 3 beside it/],
    [['--pipe', '0,3', '--input-type', 'int8'], /^argument --input-type: expected float32, float16 or bfloat16/],
    [['--L', '16777216', '--heads', '65536'], /^argument --L: expected tensors within the memory/],
    [
      ['--L', '65536'],
      /^argument --L: expected tensors within the memory, 0\.1 GiB, received 0\.2 GiB/,
      { node: ['--require', './container.cjs'] },
    ],
    [['--d', '1025'], /^argument --d: expected an integer 1 … 1024, received '1025'/],
    [['--heads', '0'], /^argument --heads: expected an integer/],
    [['--heads', '6', '--kv-heads', '4'], /^argument --kv-heads: expected a divisor of the 6 heads, received 4/],
    [['--kv-heads', 'x'], /^argument --kv-heads: expected an integer/],
    [['--runs', '0'], /^argument --runs: expected an integer 1 …/],
    [['--warmup', '-1'], /^argument --warmup: expected an integer 0 …/],
    [['--threads', '257'], /^argument --threads: expected an integer 1 … 256, received '257'/],
    [['--seed', '4294967296'], /^argument --seed: expected an integer 0 … 4294967295/],
    [['--pipe', '4'], /^argument --pipe: expected some of 0, 1, 2, 3, or all, received '4'/],
    [['--engine', 'gpu'], /^argument --engine: expected one of native, acl, reference, received 'gpu'/],
    [['--isa', 'mmx'], /^argument --isa: expected one of scalar, .*, received 'mmx'/],
    [['--isa', 'scalar', '--engine', 'reference'], /^argument --isa: expected no --engine reference/],
    [['--L', '8'], /^argument INTATTN_ENGINE: expected .*received 'gpu'/, { environment: { INTATTN_ENGINE: 'gpu' } }],
    [
      ['--preset', 'exact'],
      /^argument --preset: expected one of paper, precise-1, precise, fast, compact, finest, received 'exact'/,
    ],
    [['--synthetic', 'odd'], /^argument --synthetic: expected one of normal, flat, peaky, sink/],
    [['--input-type', 'float64'], /^argument --input-type: expected one of float32, float16, bfloat16, int8/],
    [['--input-type', 'int8', '--pipe', '0'], /^argument --input-type: expected float32, float16 or bfloat16/],
    [['--peer', 'torch'], /^argument --peer: expected one of onnxruntime, received 'torch'/],
    [['--input', 'absent'], /^argument --input: expected a readable file, received 'absent' \(ENOENT\)/],
    [['--input', 'directory'], /^argument --input: expected a readable file, received 'directory' \(EISDIR\)/],
    [['--input', 'text.safetensors'], /^argument --input: expected a safetensors file .*header's length/],
    [['--input', 'broken.safetensors'], /^argument --input: .*4 query heads are not a multiple of 3/],
    [
      ['--input', 'sound.safetensors', '--L', '13'],
      /^argument --L: expected at most 12, the input's length, received 13/,
    ],
    [['--input', 'sound.safetensors', '--d', '8'], /^argument --d: expected 4, as in the input, received 8/],
    [['--input', 'sound.safetensors', '--heads', '8'], /^argument --heads: expected 4, as in the input/],
    [['--input', 'sound.safetensors', '--kv-heads', '1'], /^argument --kv-heads: expected 2, as in the input/],
    [['--input', 'short-query.safetensors', '--L', '4'], /^argument --L: expected no length/],
    [['--input', 'sound.safetensors', '--synthetic', 'flat'], /^argument --synthetic: expected no --input/],
    [['--json', 'nowhere/result.json'], /^argument --json: .*'nowhere\/result.json' \(ENOENT\)/],
    [['--json', ''], /^argument --json: expected a file that can be written, received '' \(ENOENT\)/],
    [['--json', 'n'.repeat(256)], /^argument --json: .*\(ENAMETOOLONG\)/],
    [['--json', 'directory/'], /^argument --json: .*'directory\/' \(EISDIR\)/],
    [['--input', 'scale.safetensors'], /^argument --input: .*softmax_scale is "1e31", not a decimal number/],
    [
      ['--input', 'a\x1b[2J\u202eb\n\x9bc'],
      /^argument --input: .* received 'a\\u\{1b\}\[2J\\u\{202e\}b \\u\{9b\}c' \(ENOENT\)/,
    ],
    [['--json', 'directory'], /^argument --json: .*'directory' \(EISDIR\)/],
    [['--json', 'sound.safetensors/result.json'], /^argument --json: .*\(ENOTDIR\)/],
    [
      ['--peer', 'onnxruntime'],
      /^argument --peer: expected onnxruntime-node to load \(remedy: npm install .*\), received 'onnxruntime': Cannot find package/,
      { node: ['--import', withoutOnnxruntime] },
    ],
  ])('%j', async (flags, message, settings) => {
    const engine =
      flags.includes('--engine') || flags.includes('--isa') || settings?.environment ? [] : ['--engine', 'reference']
    const { code, stdout, stderr } = await bench([...engine, ...flags], settings)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^intattn-bench: [^\n]+\n$/)
    expect(stderr.replace('intattn-bench: ', '')).toMatch(message)
  })

  it.skipIf(!native.available)(
    `an instruction set that cannot run here${native.available ? '' : `: ${native.reason}`}`,
    async () => {
      const { code, stdout, stderr } = await bench(['--L', '8', '--isa', absentIsa])
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr).toMatch(/^intattn-bench: argument --isa: expected [^\n]+\n$/)
    },
  )
})

describe('interrupted', () => {
  it.skipIf(process.platform === 'win32')('ends at once, even amid long computations, and leaves no file', async () => {
    // Minutes of float64 attention on the main thread follow the first lines: who waits for them exceeds the time of a test.
    const flags = ['--engine', 'reference', '--L', '12000', '--d', '128', '--runs', '1', '--json', 'interrupted.json']
    let isInterrupted = false
    const { code, signal, stderr } = await bench(flags, {
      onOutput(_, interrupt) {
        if (isInterrupted) return
        isInterrupted = true
        setTimeout(interrupt, 200)
      },
    })
    expect({ code, signal, stderr }).toEqual({ code: null, signal: 'SIGINT', stderr: '' })
    expect(readdirSync(folder).filter((name) => name.startsWith('interrupted'))).toEqual([])
  })
})
