import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { firstLine } from '../describe.js'
import { packageName } from '../installation.js'
import type { AddonPlace } from '../types.js'

export interface Place {
  name: AddonPlace
  /** A folder of addons; undefined: there is none. */
  folder?: string
  /** The folder, or the name of the package that is not there. */
  path: string
  /** Why there is none. */
  reason?: string
}

/** Platforms that packages with binaries are published for. */
export const publishedPlatforms: readonly string[] = ['darwin-arm64', 'linux-arm64', 'linux-x64']

export const platformPackage = (platform: string): string => `${packageName}-${platform}`

/** Of a package in this folder, in the order in which they are tried. */
export function placesOf(folder: string, platform: string): Place[] {
  const named = process.env.INTATTN_ADDONS
  if (named) return [place('INTATTN_ADDONS', resolve(named))]
  return [place('local build', join(folder, 'build/Release')), installedPackage(folder, platform)]
}

const place = (name: AddonPlace, folder: string): Place => ({ name, folder, path: folder })

function installedPackage(from: string, platform: string): Place {
  const name = 'platform package'
  const path = platformPackage(platform)
  if (!publishedPlatforms.includes(platform)) return { name, path, reason: 'not published' }
  try {
    return place(name, dirname(createRequire(join(from, 'package.json')).resolve(`${path}/package.json`)))
  } catch (error) {
    const isAbsent = (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND'
    return { name, path, reason: isAbsent ? 'not installed' : firstLine(error) }
  }
}
