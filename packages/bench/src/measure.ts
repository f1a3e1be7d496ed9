import { setImmediate as nextTurn } from 'node:timers/promises'
import type { StageTimes } from '@intattn/acl'
import type { Random } from './random.js'

/** One timed call. */
export interface Turn {
  ms: number
  /** Measured inside C++; contenders of ours only. */
  stages?: StageTimes
  /** What the call from JavaScript took beyond `ms`; contenders of ours only. */
  callOverheadMs?: number
}

/** Something to be timed, always on the same problem. */
export interface Contender {
  run(): Turn | Promise<Turn>
}

/** How many rounds are run unmeasured, and measured. */
export interface Rounds {
  warmup: number
  runs: number
}

/** Milliseconds for the rounds of one table when their number is not given, and the bounds of that number. */
const BUDGET_MS = 15_000
const MIN_RUNS = 3
const MAX_RUNS = 100
const MAX_WARMUP = 10

/** Rounds for what was not asked for by number: as many as fit the time, 3 … 100, and a tenth of it to warm up. */
export function planRounds(roundMs: number, asked: { warmup?: number; runs?: number }): Rounds {
  const affordable = BUDGET_MS / Math.max(roundMs, 1e-3)
  const clamp = (count: number, least: number, most: number) => Math.max(least, Math.min(most, Math.floor(count)))
  return {
    warmup: asked.warmup ?? clamp(affordable / 10, 1, MAX_WARMUP),
    runs: asked.runs ?? clamp(affordable, MIN_RUNS, MAX_RUNS),
  }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** Sleeps, main thread and all: timers of the event loop know whole milliseconds only. */
function sleep(ms: number): void {
  if (ms > 0) Atomics.wait(sleeper, 0, 0, ms)
}

/**
 * Runs all contenders round by round, in a new random order each round, so that slow drifts of the machine (clock,
 * temperature, other load) meet all of them alike. Between two turns the event loop gets its turn.
 *
 * @param pauseMs rest before each turn, in which threads of the turn before stop spinning
 * @param onRound called after each round, warm-up included
 * @returns each contender's turns in the measured rounds
 */
export async function interleave(
  contenders: readonly Contender[],
  { warmup, runs }: Rounds,
  random: Random,
  pauseMs: number,
  onRound: () => void,
): Promise<Map<Contender, Turn[]>> {
  const turns = new Map(contenders.map((contender) => [contender, [] as Turn[]]))
  const order = [...contenders]
  for (let round = 0; round < warmup + runs; round++) {
    for (const contender of random.shuffle(order)) {
      sleep(pauseMs)
      const turn = await contender.run()
      if (round >= warmup) turns.get(contender)!.push(turn)
      await nextTurn()
    }
    onRound()
  }
  return turns
}
