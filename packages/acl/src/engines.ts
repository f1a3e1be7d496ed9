import type { Addon } from './addons/interface.js'
import { detectedFeatures, findAddon, loadedAddon } from './addons/load.js'
import { surroundings } from './addons/surroundings.js'
import { fail, failWith, oneOf } from './checks/checks.js'
import { firstLine } from './checks/describe.js'
import {
  type EngineInfo,
  type EngineName,
  type InstructionSet,
  type InstructionSetInfo,
  instructionSets,
  type StepEngineName,
} from './types.js'

/** An engine that can run here. */
export type Engine = StepEngine | { readonly name: 'acl'; readonly addon: Addon }
export type StepEngine =
  | { readonly name: 'reference' }
  | { readonly name: 'native'; readonly isa: InstructionSet; readonly addon: Addon }

const engineNames: readonly EngineName[] = ['native', 'acl', 'reference']
const stepEngineNames: readonly StepEngineName[] = ['native', 'reference']

/** Every engine, with its instruction sets, and why any of them cannot run here. Never throws. */
export function engines(): EngineInfo[] {
  return [nativeInfo(), aclInfo(), { name: 'reference', available: true, instructionSets: [] }]
}

/**
 * The engine asked for by option, else by environment variable (INTATTN_ENGINE, INTATTN_ISA), else the native one with its fastest
 * instruction set.
 */
export function chooseEngine(engine: unknown, isa: unknown): Engine {
  const name = chosenEngineName(engine)
  if (name !== 'acl') return stepEngine(name, engine, isa)
  rejectIsa(name, engine, isa)
  return { name, addon: loadedAddon('acl').addon }
}

/** Which engine that is, whether or not it can run here. */
export const chosenEngineName = (engine: unknown): EngineName =>
  settled(engine, 'engine', 'INTATTN_ENGINE', engineNames) ?? 'native'

/** The engine for one step of attention; where INTATTN_ENGINE asks for `acl`, which only has the whole, the native one. */
export function chooseStepEngine(engine: unknown, isa: unknown): StepEngine {
  if (engine !== undefined) return stepEngine(oneOf(engine, 'engine', stepEngineNames), engine, isa)
  const name = settled(undefined, 'engine', 'INTATTN_ENGINE', engineNames) ?? 'native'
  return stepEngine(name === 'acl' ? 'native' : name, engine, isa)
}

function stepEngine(name: StepEngineName, engine: unknown, isa: unknown): StepEngine {
  if (name === 'reference') {
    rejectIsa(name, engine, isa)
    return { name }
  }
  const wanted = settled(isa, 'isa', 'INTATTN_ISA', instructionSets)
  const { addon } = loadedAddon('native')
  if (wanted !== undefined) requireAvailable(addon, wanted, isa === undefined ? 'INTATTN_ISA' : 'isa')
  return { name, addon, isa: wanted ?? (addon.bestInstructionSet() as InstructionSet) }
}

function rejectIsa(name: EngineName, engine: unknown, isa: unknown): void {
  const by = engine === undefined ? ' (set by INTATTN_ENGINE)' : ''
  if (isa !== undefined) fail('UNKNOWN_OPTION', 'isa', `no instruction set with engine '${name}'${by}`, isa)
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
  const sets = instructionSetsOf(addon)
  const wanted = sets.find(({ name }) => name === isa)
  if (wanted?.available) return
  const available = sets.filter((set) => set.available).map(({ name }) => name)
  const expected = `an instruction set that runs here (${available.join(', ')})`
  failWith('UNAVAILABLE', argument, expected, `'${isa}': ${wanted?.reason ?? 'not known to this addon'}`)
}

function nativeInfo(): EngineInfo {
  try {
    const { addon, place } = loadedAddon('native')
    return {
      name: 'native',
      available: true,
      place,
      compiler: addon.compiler,
      instructionSets: instructionSetsOf(addon),
    }
  } catch (error) {
    return { name: 'native', available: false, reason: firstLine(error), instructionSets: [] }
  }
}

function aclInfo(): EngineInfo {
  const { place, entry, reason } = findAddon('acl', surroundings(), detectedFeatures('acl'))
  return {
    name: 'acl',
    available: reason === undefined,
    ...(reason !== undefined && { reason }),
    ...(place && { place }),
    instructionSets: [],
    ...(entry?.library && { library: entry.library }),
  }
}

function instructionSetsOf(addon: Addon): InstructionSetInfo[] {
  const features = addon.cpuFeatures().map(plain)
  return addon.instructionSets().map(({ name, requires, compiled, available }) => {
    const info = { name: name as InstructionSet, compiled, available, requires }
    if (available) return info
    const missing = requires.split(', ').filter((feature) => !features.includes(plain(feature)))
    const lacks = missing.length ? `this CPU lacks ${missing.join(', ')}` : 'this operating system does not offer it'
    return { ...info, reason: compiled ? lacks : 'not part of this build' }
  })
}

/** Systems and compilers disagree about punctuation: `avx512_vnni`, `avx512vnni`. */
const plain = (feature: string): string => feature.replaceAll('_', '')
