import { describe, expect, inject, it } from 'vitest'
import { $ } from 'zx'
import { defaultCpu, emulator } from '../cpu.mjs'
import { countContender } from '../run.mjs'

const built = inject('built')
const run = (...args) => $({ quiet: true, nothrow: true })`${emulator(defaultCpu)} ${built.program} ${args}`
const scalar = { engine: 'native', isa: 'scalar' }
const small = { L: [32], d: 16, heads: 1, causal: false, inputType: 'float32' }
const count = async (contender, problem) =>
  (
    await countContender({
      ...built,
      cpu: defaultCpu,
      contender: { ...scalar, ...contender },
      problem: { ...small, ...problem },
    })
  ).at(-1)

describe.skipIf(!built)('the program', () => {
  it.each([
    [['--pipe', '4'], "--pipe: expected an integer of 0 ... 3, received '4'"],
    [['--L', '16,,32'], "--L: expected an integer of 1 ... 262144, received ''"],
    [['--L', '0'], "--L: expected an integer of 1 ... 262144, received '0'"],
    [['--queries', '-1'], "--queries: expected an integer of 1 ... 262144, received '-1'"],
    [['--d', '1025'], "--d: expected an integer of 1 ... 1024, received '1025'"],
    [['--heads', 'two'], "--heads: expected an integer of 1 ... 65536, received 'two'"],
    [['--preset', 'best'], "--preset: expected one of paper precise precise-1 fast compact finest, received 'best'"],
    [['--preset', 'paper', '--pipe', '0'], "--preset: expected --pipe 2 or 3 beside it, received 'paper'"],
    [['--preset', 'fast', '--pipe', '2'], "--preset: expected one of paper precise, received 'fast'"],
    [['--input-type', 'int8', '--pipe', '1'], "--input-type: expected float32 with --pipe 0 and 1, received 'int8'"],
    [['--engine', 'other'], "--engine: expected one of native acl, received 'other'"],
    [['--engine', 'acl', '--isa', 'scalar'], "--isa: expected --engine native beside it, received 'scalar'"],
    [['--isa', 'neon'], /--isa: expected one of scalar avx2 .*neon-i8mm, received 'neon'/],
    [['--isa', 'avx2'], "--isa: expected what is part of this build, received 'avx2'"],
    [['--engine', 'acl'], "--engine: expected one that is part of this build (native), received 'acl'"],
    [['--L'], '--L: expected a value, received nothing'],
    [['--speed', '9'], '--speed: no such argument'],
  ])('refuses %j', async (args, message) => {
    const { exitCode, stderr } = await run(...args)
    expect(stderr).toMatch(message)
    expect(exitCode).toBe(2)
  })

  it('counts every pipeline, preset and input type, in every stage', async () => {
    for (const contender of [
      { pipeline: 'fp32' },
      { pipeline: 'fp16' },
      ...['int8', 'int'].flatMap((pipeline) => [
        { pipeline, preset: 'paper' },
        { pipeline, preset: 'precise' },
      ]),
      ...['precise-1', 'fast', 'compact', 'finest'].map((preset) => ({ pipeline: 'int', preset })),
    ]) {
      // Four bits are made of floats, and seven are fewer than these int8 have.
      const floats = !contender.preset || contender.preset === 'compact' || contender.preset === 'fast'
      for (const inputType of floats ? ['float32'] : ['float32', 'int8']) {
        const { total, stages } = await count(contender, { inputType })
        for (const [stage, instructions] of Object.entries(stages))
          expect(instructions, `${contender.pipeline} ${stage}`).toBeGreaterThan(0)
        expect(Object.values(stages).reduce((a, b) => a + b)).toBe(total)
        expect(stages.other).toBeLessThan(0.05 * total)
      }
    }
  })

  it('computes more with more keys, queries, heads and columns, and less under a causal mask', async () => {
    const int = { pipeline: 'int', preset: 'paper' }
    const { total } = await count(int, { queries: 16 })
    for (const more of [{ queries: 32 }, { L: [64] }, { heads: 2 }, { d: 32 }])
      expect((await count(int, { queries: 16, ...more })).total, JSON.stringify(more)).toBeGreaterThan(1.2 * total)
    expect((await count(int, { L: [256], causal: true })).total).toBeLessThan(
      0.8 * (await count(int, { L: [256] })).total,
    )
  })

  it('counts the same again, alone or after another length', async () => {
    const int = { pipeline: 'int', preset: 'precise' }
    const [alone, after] = [await count(int), await count(int, { L: [48, 32] })]
    expect(Math.abs(after.total - alone.total)).toBeLessThan(0.001 * alone.total)
    expect(await count(int)).toEqual(alone)
  })
})
