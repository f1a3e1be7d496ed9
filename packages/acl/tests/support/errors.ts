import { expect } from 'vitest'
import { IntAttnError } from '../../src/index.js'

/** What an action throws, or what its promise rejects with; fails when all goes well. */
export async function errorOf(action: () => unknown): Promise<unknown> {
  try {
    await action()
  } catch (error) {
    return error
  }
  return expect.fail('expected an error')
}

/** The error must be typed and complete: one line that names the argument, what was expected, what was received. */
export function expectTyped(error: unknown, code?: string, argument?: string | RegExp): IntAttnError {
  if (!(error instanceof IntAttnError)) {
    return expect.fail(`not an IntAttnError: ${error instanceof Error ? (error.stack ?? error.message) : error}`)
  }
  const { message, expected, received } = error
  expect(message).not.toContain('\n')
  for (const part of [error.code, error.argument, expected, received]) expect(part).toMatch(/\S/)
  for (const part of [error.argument, expected, received]) expect(message).toContain(part)
  if (code !== undefined) expect(error.code, message).toBe(code)
  if (typeof argument === 'string') expect(error.argument, message).toBe(argument)
  else if (argument) expect(error.argument, message).toMatch(argument)
  return error
}
