import { describe, expect, it } from 'vitest'
import { difference } from '../expected.mjs'

const row = (total, more) => ({
  ...{ engine: 'native', isa: 'neon-i8mm', pipeline: 'int', preset: 'paper' },
  ...{ total, stages: { scores: total - 10, other: 10 } },
  ...more,
})
const recorded = { rows: [row(1000)] }

describe('comparison with recorded counts', () => {
  it.each([970, 1000, 1030])('takes %i for 1000', (total) => {
    expect(difference(row(total), recorded)).toBeUndefined()
  })
  it('refuses more, and says in which stage', () => {
    expect(difference(row(1031), recorded)).toBe(
      'native neon-i8mm int paper: 1031 instructions, +3.1 %, more than recorded; if this is meant, record it: ' +
        'node tools/qemu/count.mjs --record\n  scores 990 -> 1021',
    )
  })
  it('refuses fewer, and says to record them', () => {
    expect(difference(row(969), recorded)).toContain('-3.1 %, fewer than recorded: keep that, record it')
  })
  it('refuses what is not recorded', () => {
    expect(difference(row(1000, { preset: 'precise' }), recorded)).toContain('int precise: not in counts.json')
  })
})
