import type { StageTimes } from '../types.js'
import type { Problem } from './problem.js'

/** An engine at work for one `Attention`; one run at a time. */
export interface Session {
  /** Fills the problem's output and intermediates. */
  run(problem: Problem): Promise<StageTimes>
  runSync(problem: Problem): StageTimes
  /** Working memory held at present. */
  readonly memoryBytes: number
  dispose(): void
}
