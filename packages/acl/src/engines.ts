import { fail, failWith, oneOf } from './checks.js'
import { missingFeatures } from './cpu-features.js'
import { type Addon, firstLine, type NativeInstructionSet, native } from './native.js'
import {
  type EngineInfo,
  type EngineName,
  type InstructionSet,
  type InstructionSetInfo,
  instructionSets,
} from './types.js'

/** An engine that can run here. */
export type Engine =
  | { readonly name: 'reference' }
  | { readonly name: 'native'; readonly isa: InstructionSet; readonly addon: Addon }

const engineNames: readonly EngineName[] = ['native', 'reference']

/** Every engine, with its instruction sets, and why any of them cannot run here. Never throws. */
export function engines(): EngineInfo[] {
  return [nativeInfo(), { name: 'reference', available: true, instructionSets: [] }]
}

/**
 * The engine asked for by option, else by environment variable (INTATTN_ENGINE, INTATTN_ISA), else the native one with its fastest
 * instruction set.
 */
export function chooseEngine(engine: unknown, isa: unknown): Engine {
  const name = settled(engine, 'engine', 'INTATTN_ENGINE', engineNames) ?? 'native'
  if (name === 'reference') {
    const by = engine === undefined ? ' (set by INTATTN_ENGINE)' : ''
    if (isa !== undefined) fail('UNKNOWN_OPTION', 'isa', `no instruction set with engine 'reference'${by}`, isa)
    return { name }
  }
  const wanted = settled(isa, 'isa', 'INTATTN_ISA', instructionSets)
  const addon = native()
  if (wanted !== undefined) requireAvailable(addon, wanted, isa === undefined ? 'INTATTN_ISA' : 'isa')
  return { name, addon, isa: wanted ?? (addon.bestInstructionSet() as InstructionSet) }
}

function settled<T extends string>(
  given: unknown,
  option: string,
  variable: string,
  allowed: readonly T[],
): T | undefined {
  if (given !== undefined) return oneOf(given, option, allowed)
  const value = process.env[variable]
  return value === undefined || value === '' ? undefined : oneOf(value, variable, allowed)
}

function requireAvailable(addon: Addon, isa: InstructionSet, argument: string): void {
  const sets = addon.instructionSets().map(withReason)
  const wanted = sets.find(({ name }) => name === isa)
  if (wanted?.available) return
  const available = sets.filter((set) => set.available).map(({ name }) => name)
  const expected = `an instruction set that runs here (${available.join(', ')})`
  failWith('UNAVAILABLE', argument, expected, `'${isa}': ${wanted?.reason ?? 'not known to this addon'}`)
}

function nativeInfo(): EngineInfo {
  try {
    return { name: 'native', available: true, instructionSets: native().instructionSets().map(withReason) }
  } catch (error) {
    return { name: 'native', available: false, reason: firstLine(error), instructionSets: [] }
  }
}

function withReason({ name, requires, compiled, available }: NativeInstructionSet): InstructionSetInfo {
  const info = { name: name as InstructionSet, compiled, available, requires }
  return available ? info : { ...info, reason: compiled ? whatIsMissing(requires) : 'not part of this build' }
}

function whatIsMissing(requires: string): string {
  const missing = missingFeatures(requires)
  return missing?.length
    ? `this CPU lacks ${missing.join(', ')}`
    : `this CPU or operating system does not offer all of ${requires}`
}
