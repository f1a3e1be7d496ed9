import { describe } from 'vitest'

export const isEmulated = process.env.INTATTN_TEST_SHARE !== undefined

/** A suite that starts many processes, each of which takes seconds where the machine is emulated, to test what is the same on all. */
export function describeUnlessEmulated(title: string, suite: () => void): void {
  describe.skipIf(isEmulated)(`${title}${isEmulated ? ' (not run where the machine is emulated)' : ''}`, suite)
}
