import { installation, packageName } from './installation.js'
import { type Place, placesOf } from './places.js'
import { detectSystem, type System } from './system.js'

/** What decides which addons can be loaded. */
export interface Surroundings {
  /** Of this package; undefined where its code was moved away from its package.json. */
  version: string | undefined
  /** Whether the sources are here to be built. */
  isCheckout: boolean
  platform: string
  /** Undefined: unknown. Takes milliseconds to find out, so it is asked for where it matters. */
  system(): System | undefined
  /** In the order in which they are tried. */
  places: readonly Place[]
}

/** As in `process.platform` and `process.arch`. */
export const currentPlatform = (): string => `${process.platform}-${process.arch}`

/** Those of this process. */
export function surroundings(): Surroundings {
  const platform = currentPlatform()
  const installed = installation()
  return {
    version: installed?.version,
    isCheckout: installed?.isCheckout ?? false,
    platform,
    system: detectSystem,
    places: installed ? placesOf(installed.folder, platform) : [moved],
  }
}

const moved: Place = {
  name: 'platform package',
  path: packageName,
  reason: 'its code does not lie below its package.json: was it bundled?',
}
