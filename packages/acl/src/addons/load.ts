import { createRequire } from 'node:module'
import { inWords, LoaderError, type LoaderErrorDetails } from '../errors.js'
import type { AddonPlace } from '../types.js'
import { attempts, isRefused, type Refused } from './attempts.js'
import { cpuFeatures } from './cpu-features.js'
import { type Addon, interfaceVersion } from './interface.js'
import type { AddonEngine, AddonEntry } from './manifest.js'
import { refusalOfLoading } from './obstacles.js'
import { remedies } from './remedies.js'
import { type Surroundings, surroundings } from './surroundings.js'

export interface LoadedAddon {
  addon: Addon
  place: AddonPlace
}

const loaded: Partial<Record<AddonEngine, LoadedAddon>> = {}

/** The addon of an engine; loaded once per thread. Throws a {@link LoaderError}. */
export function loadedAddon(engine: AddonEngine): LoadedAddon {
  loaded[engine] ??= loadAddon(engine, surroundings(), detectedFeatures(engine))
  return loaded[engine]
}

/** The first addon that loads. Throws a {@link LoaderError}. */
export function loadAddon(engine: AddonEngine, here: Surroundings, features: readonly string[]): LoadedAddon {
  const tried: Refused[] = []
  let cause: unknown
  for (const attempt of attempts(engine, here, features)) {
    if (isRefused(attempt)) {
      tried.push(attempt)
      continue
    }
    try {
      return { addon: requireAddon(attempt.path), place: attempt.place }
    } catch (error) {
      cause ??= error
      tried.push({ ...attempt, refusal: refusalOfLoading(attempt.path, error) })
    }
  }
  throw new LoaderError(
    {
      engine,
      platform: here.platform,
      detectedFeatures: features,
      requiredFeatures: tried.findLast(({ entry }) => entry)?.entry?.requiredFeatures ?? [],
      tried: triedOf(tried),
      remedies: remedies(engine, tried, here),
    },
    cause === undefined ? undefined : { cause },
  )
}

/** What would be loaded for an engine as far as is known, else why nothing can; loads nothing. */
export function findAddon(engine: AddonEngine, here: Surroundings, features: readonly string[]): FoundAddon {
  const refused: Refused[] = []
  for (const attempt of attempts(engine, here, features)) {
    if (!isRefused(attempt)) return attempt
    refused.push(attempt)
  }
  const [first, ...others] = triedOf(refused)
  const reason = others.length ? inWords(triedOf(refused)) : first!.reason
  const entry = refused.find((attempt) => attempt.entry)?.entry
  return { ...(entry && { entry }), reason }
}

/** Without a reason: to be loaded. With one: the entry, if there is any, is for other machines. */
export interface FoundAddon {
  place?: AddonPlace
  entry?: AddonEntry
  reason?: string
}

/** A file that is an addon of this interface. */
export function requireAddon(path: string): Addon {
  const addon = createRequire(path)(path) as Partial<Addon>
  if (addon.interfaceVersion === interfaceVersion) return addon as Addon
  throw new Error(`built for interface ${addon.interfaceVersion ?? 0}, expected ${interfaceVersion}`)
}

const triedOf = (refused: readonly Refused[]): LoaderErrorDetails['tried'] =>
  refused.map(({ path, refusal }) => ({ path, reason: refusal.reason }))

/** Told by the native engine, which every CPU runs; else by the system. */
export function detectedFeatures(engine: AddonEngine): readonly string[] {
  if (engine !== 'native') {
    try {
      return loadedAddon('native').addon.cpuFeatures()
    } catch {}
  }
  return cpuFeatures() ?? []
}
