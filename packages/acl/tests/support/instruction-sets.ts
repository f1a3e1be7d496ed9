import { describe, expect, test } from 'vitest'
import { engines, type InstructionSet, type InstructionSetInfo } from '../../src/index.js'

const native = engines().find(({ name }) => name === 'native')!
const sets: readonly InstructionSetInfo[] = native.instructionSets

export const availableIsas: readonly InstructionSet[] = sets.filter((set) => set.available).map(({ name }) => name)
/** What users get when they ask for nothing. */
export const fastestIsa = availableIsas.at(-1)!

/** The suite once per instruction set; those that cannot run here are reported as skipped, with the reason in their name. */
export function describeEachIsa(title: string, suite: (isa: InstructionSet) => void): void {
  if (!native.available) {
    test(`${title}: the native engine loads`, () => expect.fail(native.reason))
  }
  for (const { name, available, reason } of sets) {
    if (available) describe(`${title}, ${name}`, () => suite(name))
    else test.skip(`${title}, ${name}: not run here, ${reason}`)
  }
}
