import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { $ } from 'zx'
import { cpus, emulator } from '../cpu.mjs'
import { capabilities } from '../run.mjs'
import { compile } from './support/program.mjs'

const built = inject('built')

/** Bits of AT_HWCAP and AT_HWCAP2 as in Linux's arm64 hwcap.h. */
const bits = {
  ...{ asimd: [16, 1], asimdhp: [16, 10], asimddp: [16, 20], sve: [16, 22] },
  ...{ i8mm: [26, 13], bf16: [26, 14], sme: [26, 23] },
}

/** A program that executes one smmla. */
const matrixProduct =
  '.arch armv8.6-a\n.global _start\n_start: smmla v0.4s, v1.16b, v2.16b\nmov x0, #0\nmov x8, #94\nsvc 0\n'

describe.skipIf(!built)('emulated CPUs', () => {
  let hwcaps
  let smmla
  beforeAll(async () => {
    const print = Object.entries(bits).map(
      ([name, [type, bit]]) => `if (getauxval(${type}) >> ${bit} & 1) std::puts("${name}");`,
    )
    hwcaps = await compile('c++', `#include <cstdio>\n#include <sys/auxv.h>\nint main() { ${print.join('\n')} }`)
    smmla = await compile('assembly', matrixProduct)
  })
  afterAll(async () => {
    await hwcaps?.remove()
    await smmla?.remove()
  })

  it.each(Object.entries(cpus))('%s has the features it is said to have, and not the others', async (name, cpu) => {
    const { stdout } = await $({ quiet: true })`${emulator(name)} ${hwcaps.program}`
    const features = stdout.trim().split('\n')
    expect(features).toEqual(expect.arrayContaining(cpu.features))
    for (const feature of cpu.without) expect(features).not.toContain(feature)
  })

  it.each(Object.entries(cpus))('%s executes matrix instructions or stops at them, as it says', async (name, cpu) => {
    const { exitCode } = await $({ quiet: true, nothrow: true })`${emulator(name)} ${smmla.program}`
    expect(exitCode === 0).toBe(cpu.features.includes('i8mm'))
  })

  it.each([
    ['apple-m2', ['scalar', 'neon-dotprod', 'neon-i8mm']],
    ['neoverse-n1', ['scalar', 'neon-dotprod']],
    ['cortex-a72', ['scalar']],
  ])('%s runs %j', async (name, expected) => {
    const { instructionSets } = await capabilities(built.program, name)
    expect(instructionSets.filter(({ available }) => available).map((set) => set.name)).toEqual(expected)
  })
})
