import { failWith } from '../checks/checks.js'
import type { Problem } from '../sessions/problem.js'
import type { EngineName } from '../types.js'
import type { ResolvedOptions } from './options.js'

/** Throws `UNAVAILABLE` for what engines in C++ do not compute yet: masks with arithmetics other than version 2. */
export function requireSupported(engine: EngineName, options: ResolvedOptions, problem?: Problem): void {
  if (engine === 'reference' || (engine === 'native' && options.version === 2)) return
  const lacks = (argument: string, received: string) =>
    failWith(
      'UNAVAILABLE',
      argument,
      `engine 'reference' or a preset of version 2, as engine '${engine}' does not have it otherwise yet`,
      received,
    )

  if (options.version === 2) lacks('preset', `preset '${options.preset}'`)
  if (options.valueDim !== options.headDim) lacks('valueDim', 'another one than headDim')
  for (const name of ['window', 'alibiSlopes', 'sinks'] as const) if (options[name] !== undefined) lacks(name, 'one')
  for (const name of ['queryStart', 'mask', 'bias'] as const) if (problem?.[name]) lacks(name, 'one')
}
