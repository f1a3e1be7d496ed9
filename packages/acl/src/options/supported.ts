import { failWith } from '../checks/checks.js'
import { isPlain } from '../checks/dense.js'
import type { CheckedTensor } from '../checks/tensors.js'
import type { Problem } from '../sessions/problem.js'
import type { EngineName } from '../types.js'
import type { ResolvedOptions } from './options.js'

/**
 * Throws `UNAVAILABLE` for what engines in C++ do not compute: version 2 and masks on engine `acl`; on the native engine, masks that are
 * more than a first and a last key with version 1.
 */
export function requireSupported(engine: EngineName, options: ResolvedOptions, problem?: Problem): void {
  if (engine === 'reference' || (engine === 'native' && options.version !== 1)) return
  const others =
    engine === 'native' ? "engine 'reference', a preset of version 2 or a pipeline in floats" : "engine 'reference'"
  const lacks = (argument: string, received: string) =>
    failWith('UNAVAILABLE', argument, `${others}, as engine '${engine}' does not have it otherwise`, received)

  if (options.version === 2) lacks('preset', `preset '${options.preset}'`)
  for (const name of ['window', 'alibiSlopes', 'sinks'] as const) if (options[name] !== undefined) lacks(name, 'one')
  if (engine === 'acl' && options.valueDim !== options.headDim) lacks('valueDim', 'another one than headDim')
  if (engine === 'acl' && problem?.queryStart) lacks('queryStart', 'one')
  for (const name of ['mask', 'bias'] as const) if (problem?.[name]) lacks(name, 'one')
}

const readByRows = ['query', 'key', 'value', 'output']

/** Whether an engine reads or writes a tensor as it lies in memory; the others work on dense copies without bfloat16. */
export function takesLayout(engine: EngineName, options: ResolvedOptions, tensor: CheckedTensor): boolean {
  return isPlain(tensor) || (engine === 'native' && options.version === 2 && readByRows.includes(tensor.argument))
}
