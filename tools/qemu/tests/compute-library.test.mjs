import { beforeAll, describe, expect, inject, it } from 'vitest'
import { buildAll } from '../build.mjs'
import { countRecorded } from '../expected.mjs'

const prefix = inject('computeLibrary')

describe.skipIf(!prefix)('executed instructions beside ComputeLibrary, L = 1024, d = 128, one thread', () => {
  let built
  let fused
  beforeAll(async () => {
    built = await buildAll(inject('built').toolchain, prefix)
    fused = await count({ engine: 'native', isa: 'neon-i8mm', pipeline: 'int', preset: 'paper' })
  }, 1_800_000)
  const count = async (contender) => (await countRecorded(built, contender)).total

  it('fused int takes less than 1/4.9 of fp16', async () => {
    expect(fused).toBeLessThan((await count({ engine: 'acl', pipeline: 'fp16' })) / 4.9)
  })

  it('fused int takes less than 0.6 of int', async () => {
    expect(fused).toBeLessThan(0.6 * (await count({ engine: 'acl', pipeline: 'int', preset: 'paper' })))
  })

  it.each([
    { pipeline: 'fp32' },
    { pipeline: 'int8', preset: 'paper' },
    { pipeline: 'int8', preset: 'precise' },
    { pipeline: 'int', preset: 'precise-1' },
  ])('%j runs', async (contender) => {
    expect(await count({ engine: 'acl', ...contender })).toBeGreaterThan(fused)
  })
})
