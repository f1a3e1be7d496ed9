import { fail, oneOf } from '../checks/checks.js'
import { blockPresets, type EngineName, indexPresets, type Pipeline, type Preset } from '../types.js'

/** What pipeline `int` computes where no preset is asked for; engine `acl`, which has version 1 alone, computes `precise-1`. */
export const defaultPreset: Preset = 'precise'

/** Presets of version 1; section 8 of its specification. */
export type IndexPreset = (typeof indexPresets)[number]
/** Presets of version 2. */
export type BlockPreset = (typeof blockPresets)[number]

/** The preset of a quantized pipeline; those that it or its engine does not have are errors that name those it has. */
export function resolvePreset(asked: unknown, pipeline: Pipeline, engine: EngineName): Preset {
  const isLimited = pipeline === 'int8' || engine === 'acl'
  if (asked === undefined) return isLimited ? 'precise-1' : defaultPreset
  const preset = oneOf(asked, 'preset', [...blockPresets, ...indexPresets])
  if (!isLimited || isIndexPreset(preset)) return preset
  const names = indexPresets.map((name) => `'${name}'`).join(' or ')
  const where = pipeline === 'int8' ? "pipeline 'int8'" : "engine 'acl'"
  return fail('INVALID_ARGUMENT', 'preset', `${names} with ${where}`, asked)
}

export const isIndexPreset = (preset: Preset): preset is IndexPreset =>
  (indexPresets as readonly Preset[]).includes(preset)
