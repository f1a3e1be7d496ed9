import { firstLine } from '../checks/describe.js'
import { type ErrorCode, IntAttnError } from '../errors.js'

/**
 * Runs a call of the addon. What its own checks object to, if TypeScript's let it through, and what else it fails of becomes an
 * {@link IntAttnError}.
 *
 * @param argument at fault, where the addon does not take what it is given
 */
export function callAddon<T>(argument: string, call: () => T): T {
  try {
    return call()
  } catch (cause) {
    const [code, expected] = kindOf(cause)
    throw new IntAttnError(
      { code, argument: code === 'INVALID_ARGUMENT' ? argument : 'engine', expected, received: firstLine(cause) },
      { cause },
    )
  }
}

function kindOf(error: unknown): [code: ErrorCode, expected: string] {
  if (error instanceof TypeError) return ['INVALID_ARGUMENT', 'what the addon takes']
  if (error instanceof Error && Reflect.get(error, 'code') === 'OUT_OF_MEMORY') {
    return ['OUT_OF_MEMORY', 'memory to work with']
  }
  return ['ENGINE_FAILED', 'the addon to do its work']
}
