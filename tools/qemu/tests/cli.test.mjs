import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { $, fs } from 'zx'

const built = inject('built')
const run = (...args) =>
  $({ quiet: true, nothrow: true })`node ${path.join(import.meta.dirname, '../count.mjs')} ${args}`

describe('count.mjs', () => {
  it.each([
    [['--pipe', '4'], "expected an integer of 0 … 3, received '4'"],
    [['--L', '128,x'], "expected an integer of 1 … 262144, received 'x'"],
    [['--engine', 'native,other'], "expected one of native, acl, received 'other'"],
    [['--preset', 'best'], "expected one of paper, precise, precise-1, fast, compact, finest, received 'best'"],
    [['--cpu', 'm1'], "expected one of apple-m2, neoverse-n1, cortex-a72, received 'm1'"],
    [['--input-type', 'int8'], 'expected float32 with the pipelines 0 and 1'],
    [['--engine', 'acl', '--isa', 'scalar'], 'expected --engine native beside it'],
    [['1024'], 'too many arguments'],
    [['--hot', '0'], "expected an integer of 1 … 1000, received '0'"],
    [['--speed'], "unknown option '--speed'"],
  ])('refuses %j', async (args, message) => {
    const { exitCode, stderr, stdout } = await run(...args)
    expect(stderr).toContain(message)
    expect(stdout).toBe('')
    expect(exitCode).toBe(2)
  })
})

describe.skipIf(!built)('count.mjs', () => {
  let directory
  beforeAll(async () => {
    directory = await fs.mkdtemp(path.join(os.tmpdir(), 'intattn-cli-'))
  })
  afterAll(() => fs.remove(directory))

  it('prints a table for each length, with ratios, and writes JSON', async () => {
    const json = path.join(directory, 'counts.json')
    const { exitCode, stdout, stderr } = await run(
      ...['--isa', 'scalar', '--pipe', '0,3', '--preset', 'paper', '--L', '32,48', '--d', '16'],
      ...['--baseline', 'native fp32', '--json', json],
    )
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(stdout).toMatch(/^modelled: executed instructions, not time; qemu-aarch64 /)
    expect(stdout).toContain('L 32, d 16, heads 1; float32 in; threads 1')
    expect(stdout).toContain('L 48, d 16, heads 1; float32 in; threads 1')
    expect(stdout).toMatch(
      /engine +isa +pipeline +preset +total M +prepare +scores .* other +per element +x native fp32/,
    )
    const { label, cpu, rows } = await fs.readJson(json)
    expect({ label, cpu }).toEqual({ label: 'modelled: executed instructions, not time', cpu: 'apple-m2' })
    expect(rows.map(({ pipeline, L }) => `${pipeline} ${L}`)).toEqual(['fp32 32', 'int 32', 'fp32 48', 'int 48'])
    const [floating, integer] = rows
    expect(floating.ratios).toEqual({ 'native fp32': 1 })
    expect(integer.ratios).toEqual({ 'native fp32': floating.total / integer.total })
    expect(integer.perElement).toBe(integer.total / 32 ** 2)
    const causal = JSON.parse(
      (await run('--isa', 'scalar', '--pipe', '0', '--L', '32', '--d', '16', '--causal', '--json', '-')).stdout,
    )
    expect(causal.rows[0].perElement).toBe(causal.rows[0].total / ((32 * 33) / 2))
  })

  it('shows what the instructions are and where', async () => {
    const { exitCode, stdout } = await run(
      '--isa',
      'scalar',
      '--pipe',
      '3',
      '--preset',
      'paper',
      '--L',
      '64',
      '--hot',
      '2',
    )
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^mnemonic +total M +share/m)
    expect(stdout).toMatch(/^ldr /m)
    expect(stdout).toMatch(/^intattn::.*scores +\d/m)
    expect(stdout.match(/^[\d.]+ %: \d+ instructions, \d+ times, in (scores|values): intattn::/gm)).toHaveLength(2)
  })

  it('tells which instruction sets a CPU lacks', async () => {
    const { exitCode, stderr } = await run('--isa', 'neon-dotprod', '--cpu', 'cortex-a72')
    expect(stderr).toContain("--isa: expected one of scalar on cortex-a72 (asimd), received 'neon-dotprod'")
    expect(exitCode).toBe(1)
  })

  it('says how to get a ComputeLibrary', async () => {
    const { exitCode, stderr } = await run('--engine', 'acl', '--compute-library', directory)
    expect(stderr).toContain(`missing: a ComputeLibrary for arm64 Linux at ${directory}\n  get it: nx run acl:build`)
    expect(exitCode).toBe(1)
  })

  it('refuses a CPU that cannot run the ComputeLibrary', async () => {
    await fs.writeJson(path.join(directory, 'build.json'), { requiredFeatures: ['asimddp', 'i8mm', 'bf16'] })
    const { exitCode, stderr } = await run(
      ...['--engine', 'acl', '--compute-library', directory, '--cpu', 'neoverse-n1'],
    )
    expect(stderr).toContain('--cpu: expected one with i8mm, bf16, for this ComputeLibrary, received neoverse-n1')
    expect(exitCode).toBe(1)
  })

  it('names a compiler that is not there', async () => {
    const { exitCode, stderr } = await run('--compiler', 'no-such-compiler')
    expect(stderr).toContain(
      'missing: no-such-compiler, as a compiler for arm64\n  get it: apt install clang-19 lld-19',
    )
    expect(exitCode).toBe(1)
  })
})
