import { beforeAll, describe, expect, inject, it } from 'vitest'
import { contenders, countRecorded, difference, extrapolate, missed, readRecorded, targets } from '../expected.mjs'
import { nameOf } from '../run.mjs'

const built = inject('built')
const named = contenders.map((contender) => [nameOf(contender), contender])
const counted = new Map()

const count = async (contender) => {
  const name = nameOf(contender)
  if (!counted.has(name)) counted.set(name, await countRecorded(built, contender))
  return counted.get(name)
}

describe.skipIf(!inject('recorded'))('executed instructions, L = 1024, d = 128, one thread', () => {
  let recorded
  beforeAll(async () => {
    recorded = await readRecorded()
  })

  it.each(named)('%s: as recorded', async (_, contender) => {
    const different = difference(await count(contender), recorded)
    if (different) expect.fail(different)
  })

  const instructionsOf = async (preset) =>
    (await count({ engine: 'native', isa: 'neon-i8mm', pipeline: 'int', preset })).total

  const reached = Object.entries(targets).filter(([preset]) => !(preset in missed))
  it.each(reached)('int %s: on target', async (preset, most) => {
    expect(await instructionsOf(preset)).toBeLessThanOrEqual(most)
  })

  it.each(Object.entries(missed))('int %s: target missed, but under %i', async (preset, most) => {
    const total = await instructionsOf(preset)
    expect(total).toBeLessThanOrEqual(most)
    expect(total, 'the target is reached: take it out of `missed`').toBeGreaterThan(targets[preset])
  })
})

describe.skipIf(!inject('recorded'))('executed instructions of int at any length', () => {
  const integer = named.filter(([, { pipeline }]) => pipeline === 'int')

  it.each(integer)('%s: no more per score from 1k to 16k', async (_, contender) => {
    const lengths = await extrapolate(built, contender, [1024, 4096, 16384])
    const [first] = lengths
    expect(Math.abs(first.total / (await count(contender)).total - 1)).toBeLessThan(0.01)
    for (const { perElement } of lengths) expect(perElement / first.perElement).toBeLessThan(1.02)
  })
})
