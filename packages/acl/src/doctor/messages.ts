import type { AddonPlace, EngineName, InstructionSet } from '../types.js'

/** What the child process sends: what it is about to do, each time, and in the end how it went. */
export type Message = { doing: string } | { outcome: Outcome }

export interface Outcome {
  verdict: 'works' | 'refused' | 'wrong'
  reason?: string
  cpuFeatures?: readonly string[]
  /** Those with which it works. */
  instructionSets?: readonly InstructionSet[]
  /** What was chosen by default. */
  chosen?: { engine: EngineName; isa?: InstructionSet; place?: AddonPlace }
  remedies?: readonly string[]
}
