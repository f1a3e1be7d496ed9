import { join } from 'node:path'
import { refusalOfFile } from './binary.js'
import { type AddonEntry, type Manifest, manifestPath, readManifest } from './manifest.js'
import type { Place } from './places.js'
import type { Surroundings } from './surroundings.js'
import { isAtLeast } from './system.js'

/** Why something is not to be loaded, or was not: for remedies, and in words. */
export interface Refusal {
  cause:
    | 'engine' // has no addons for this platform
    | 'absent'
    | 'malformed'
    | 'version'
    | 'platform'
    | 'system'
    | 'none' // of this engine
    | 'file' // missing or unreadable
    | 'damaged'
    | 'features'
    | 'load'
  reason: string
}

/** What there is in a place. */
export interface Examination {
  /** What the refusal is about. */
  path: string
  manifest?: Manifest
  /** Why nothing of it can be used. */
  refusal?: Refusal
  /** In the order of the manifest; none where the whole place is refused. */
  candidates: readonly Candidate[]
}

/** An addon in a place. */
export interface Candidate {
  path: string
  entry: AddonEntry
  refusal?: Refusal
}

/** Everything that can be known before a binary is loaded: code for another CPU would end the process. */
export function examine(place: Place, here: Surroundings, features: readonly string[]): Examination {
  const { folder, reason = 'not there' } = place
  if (folder === undefined || here.version === undefined) {
    return { path: place.path, refusal: { cause: 'absent', reason }, candidates: [] }
  }
  const path = manifestPath(folder)
  const read = readManifest(folder, here.version)
  if ('cause' in read) return { path, refusal: read, candidates: [] }
  const refusal = refusalOf(read, here)
  if (refusal) return { path, manifest: read, refusal, candidates: [] }
  const candidates = read.addons.map((entry): Candidate => {
    const path = join(folder, entry.file)
    const refusal = lackingFeatures(entry, features) ?? refusalOfFile(path, entry, read.platform)
    return { path, entry, ...(refusal && { refusal }) }
  })
  return { path, manifest: read, candidates }
}

function refusalOf({ platform, system }: Manifest, here: Surroundings): Refusal | undefined {
  if (platform !== here.platform) {
    return { cause: 'platform', reason: `built for ${platform}, and this is ${here.platform}` }
  }
  if (!system) return undefined
  const present = here.system()
  if (present?.name === system.name && isAtLeast(present.version, system.version)) return undefined
  const unknown = system.name === 'glibc' ? "this system's C library is musl or unknown" : 'this system is unknown'
  const found = present ? `this is ${present.name} ${present.version}` : unknown
  return { cause: 'system', reason: `built for ${system.name} ${system.version}, and ${found}` }
}

function lackingFeatures({ library, requiredFeatures }: AddonEntry, features: readonly string[]): Refusal | undefined {
  const missing = requiredFeatures.filter((feature) => !features.includes(feature))
  if (missing.length === 0) return undefined
  const builtFor = library ? `built for ${library.cpu}, and ` : ''
  return { cause: 'features', reason: `${builtFor}this CPU lacks ${missing.join(', ')}` }
}
