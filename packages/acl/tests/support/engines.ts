import { describe, test } from 'vitest'
import {
  type AttentionOptions,
  defaultPreset,
  type EngineName,
  engines,
  type Pipeline,
  type Preset,
} from '../../src/index.js'
import { isEmulated } from './emulation.js'
import { availableIsas, describeEachIsa } from './instruction-sets.js'

/** What chooses an engine, as options of an `Attention`. */
export type Choice = Pick<AttentionOptions, 'engine' | 'isa'>

const info = (name: EngineName) => engines().find((engine) => engine.name === name)!
const acl = info('acl')

/** Engines that can run here, the default one first. */
export const runnableEngines: readonly EngineName[] = acl.available
  ? ['native', 'acl', 'reference']
  : ['native', 'reference']

/** Those of them whose runs leave the calling thread. */
export const threadedEngines = runnableEngines.filter((name) => name !== 'reference')

/** Every engine in C++ and instruction set that can run here. */
export const choices: readonly Choice[] = [
  ...availableIsas.map((isa) => ({ isa })),
  ...(acl.available ? [{ engine: 'acl' } as const] : []),
]

/** The preset that an engine has by default, by name: where engines are compared, all must have the same one. */
export const presetOf = ({ engine }: Choice, pipeline: Pipeline): { preset?: Preset } =>
  pipeline === 'int' ? { preset: engine === 'acl' ? 'precise-1' : defaultPreset } : {}

/** The suite once per engine that can run here; engine `acl`, where it cannot, is reported as skipped, with the reason in its name. */
export function describeEachEngine(
  title: string,
  suite: (engine: EngineName) => void,
  among: readonly EngineName[] = runnableEngines,
): void {
  describe.each(among)(`${title}, %s engine`, suite)
  skipAcl(title)
}

/** The suite once per engine in C++ and, of the native one, per instruction set. */
export function describeEachChoice(title: string, suite: (choice: Choice) => void): void {
  describeEachIsa(title, (isa) => suite({ isa }))
  if (acl.available) describe(`${title}, acl`, () => suite({ engine: 'acl' }))
  else skipAcl(title)
}

/** Engines that compute version 2 of the numeric specification; where the machine is emulated, those that are for it. */
export const blockChoices: readonly Choice[] = isEmulated
  ? availableIsas.filter((isa) => isa !== 'scalar').map((isa) => ({ isa }))
  : [{ engine: 'reference' }, ...availableIsas.map((isa) => ({ isa }))]

/** The suite once per engine that has version 2. */
export function describeEachBlockChoice(title: string, suite: (choice: Choice) => void): void {
  for (const choice of blockChoices) describe(`${title}, ${choice.isa ?? choice.engine}`, () => suite(choice))
}

function skipAcl(title: string): void {
  if (!acl.available) test.skip(`${title}, acl: not run here, ${acl.reason}`)
}
