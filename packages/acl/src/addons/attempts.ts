import type { AddonPlace } from '../types.js'
import { examine, type Refusal } from './examine.js'
import type { AddonEngine, AddonEntry } from './manifest.js'
import type { Surroundings } from './surroundings.js'

/** An addon that can be loaded as far as is known, or what is in the way. */
export interface Attempt {
  place: AddonPlace
  /** Of a file, folder or package. */
  path: string
  entry?: AddonEntry
  refusal?: Refusal
}

export type Refused = Attempt & { refusal: Refusal }

export const isRefused = (attempt: Attempt): attempt is Refused => attempt.refusal !== undefined

/** What there is to be loaded for an engine, in order. A place is looked at when those before it have been passed over. */
export function* attempts(engine: AddonEngine, here: Surroundings, features: readonly string[]): Generator<Attempt> {
  const unsuitable = unsuitability(engine, here.platform)
  for (const place of here.places) {
    const { name } = place
    if (unsuitable) return yield { place: name, path: place.path, refusal: unsuitable }
    const { path, manifest, refusal, candidates } = examine(place, here, features)
    const entry = manifest?.addons.find((addon) => addon.engine === engine)
    if (refusal) yield { place: name, path, ...(entry && { entry }), refusal }
    else if (!entry) yield { place: name, path, refusal: { cause: 'none', reason: `no addon of engine '${engine}'` } }
    for (const candidate of candidates) if (candidate.entry.engine === engine) yield { place: name, ...candidate }
  }
}

/** Why an engine has no addons for a platform. */
export function unsuitability(engine: AddonEngine, platform: string): Refusal | undefined {
  if (engine === 'native' || platform.endsWith('-arm64')) return undefined
  return { cause: 'engine', reason: `ComputeLibrary runs on arm64, and this is ${platform}` }
}
