import { describe, expect, it } from 'vitest'
import { interleave, planRounds } from '../src/measure.js'
import { Random } from '../src/random.js'

async function log(seed: number) {
  const order: string[] = []
  let rounds = 0
  const contenders = ['a', 'b', 'c'].map((name) => ({ run: () => ({ ms: order.push(name) }) }))
  const turns = await interleave(contenders, { warmup: 2, runs: 4 }, new Random(seed), 0, () => rounds++)
  return { order, turns, rounds }
}

describe('interleave', () => {
  it('gives every contender one turn a round, and returns those after the warm-up', async () => {
    const { order, turns, rounds } = await log(1)
    expect(rounds).toBe(6)
    for (let round = 0; round < 6; round++) {
      expect(order.slice(round * 3, round * 3 + 3).sort()).toEqual(['a', 'b', 'c'])
    }
    expect([...turns.values()].map((own) => own.length)).toEqual([4, 4, 4])
    expect(
      [...turns.values()]
        .flat()
        .map(({ ms }) => ms)
        .sort((left, right) => left - right),
    ).toEqual([7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18])
  })

  it('changes the order from round to round, by the seed alone', async () => {
    const { order } = await log(1)
    expect((await log(1)).order).toEqual(order)
    expect((await log(2)).order).not.toEqual(order)
    expect(
      new Set([0, 1, 2, 3, 4, 5].map((round) => order.slice(round * 3, round * 3 + 3).join(''))).size,
    ).toBeGreaterThan(1)
  })

  it('waits for contenders that take their time', async () => {
    let running = 0
    const slow = {
      async run() {
        expect(++running).toBe(1)
        await new Promise((resolve) => setTimeout(resolve, 2))
        running--
        return { ms: 1 }
      },
    }
    const turns = await interleave([slow, { ...slow }], { warmup: 0, runs: 3 }, new Random(1), 0, () => {})
    expect([...turns.values()].flat().length).toBe(6)
  })
})

it('rests before each turn', async () => {
  const ends: number[] = []
  const contender = { run: () => ({ ms: ends.push(performance.now()) }) }
  await interleave([contender], { warmup: 0, runs: 3 }, new Random(1), 5, () => {})
  expect(ends[1]! - ends[0]!).toBeGreaterThan(4.5)
  expect(ends[2]! - ends[1]!).toBeGreaterThan(4.5)
})

describe('planRounds', () => {
  it('takes what was asked for', () => {
    expect(planRounds(1e6, { warmup: 0, runs: 7 })).toEqual({ warmup: 0, runs: 7 })
    expect(planRounds(1, { runs: 7 })).toEqual({ warmup: 10, runs: 7 })
  })

  it('takes 10 and 100 when rounds are short, fewer when they are long, 1 and 3 at least', () => {
    expect(planRounds(0, {})).toEqual({ warmup: 10, runs: 100 })
    expect(planRounds(1, {})).toEqual({ warmup: 10, runs: 100 })
    expect(planRounds(500, {})).toEqual({ warmup: 3, runs: 30 })
    expect(planRounds(1e6, {})).toEqual({ warmup: 1, runs: 3 })
  })
})
