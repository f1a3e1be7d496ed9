import { setImmediate } from 'node:timers/promises'
import type { ResolvedOptions } from '../options/options.js'
import type { Problem } from '../sessions/problem.js'
import type { Session } from '../sessions/session.js'
import type { StageTimes } from '../types.js'
import { referenceAttention } from './attention.js'

/** Plain TypeScript on the calling thread. */
export class ReferenceSession implements Session {
  readonly memoryBytes = 0
  readonly #options: ResolvedOptions

  constructor(options: ResolvedOptions) {
    this.#options = options
  }

  async run(problem: Problem): Promise<StageTimes> {
    await setImmediate()
    return this.runSync(problem)
  }

  runSync(problem: Problem): StageTimes {
    const start = performance.now()
    referenceAttention(this.#options, problem)
    return { total: performance.now() - start, prepare: 0, scores: 0, softmax: 0, values: 0, output: 0 }
  }

  dispose(): void {}
}
