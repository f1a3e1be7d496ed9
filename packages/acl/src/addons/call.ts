import { firstLine } from '../describe.js'
import { IntAttnError } from '../errors.js'

/** Runs a call of the addon; what its own checks object to, if TypeScript's let it through, becomes an {@link IntAttnError}. */
export function callAddon<T>(call: () => T): T {
  try {
    return call()
  } catch (cause) {
    const received = firstLine(cause)
    const expected = 'arguments that the addon takes'
    throw new IntAttnError({ code: 'INVALID_ARGUMENT', argument: 'inputs', expected, received }, { cause })
  }
}
