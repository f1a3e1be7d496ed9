import { accessSync, constants } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join, resolve } from 'node:path'
import { firstLine } from '../checks/describe.js'
import type { AddonPlace } from '../types.js'
import { packageName } from './installation.js'
import { isDenied } from './obstacles.js'

export interface Place {
  name: AddonPlace
  /** A folder of addons; undefined: there is none. */
  folder?: string
  /** The folder, or the name of the package that is not there. */
  path: string
  /** Why there is none; where it only cannot be read, the cause says so. */
  reason?: string
  cause?: 'unreadable'
}

/** Platforms that packages with binaries are published for. */
export const publishedPlatforms: readonly string[] = ['darwin-arm64', 'linux-arm64', 'linux-x64']

export const platformPackage = (platform: string): string => `${packageName}-${platform}`

/** Of a package in this folder, in the order in which they are tried. */
export function placesOf(folder: string, platform: string): Place[] {
  const named = process.env.INTATTN_ADDONS
  if (named) return [place('INTATTN_ADDONS', resolve(named))]
  return [place('local build', join(folder, 'build/Release')), installedPackage(platform)]
}

const place = (name: AddonPlace, folder: string): Place => ({ name, folder, path: folder })

function installedPackage(platform: string): Place {
  const name = 'platform package'
  const path = platformPackage(platform)
  if (!publishedPlatforms.includes(platform)) return { name, path, reason: 'not published' }
  try {
    const { folder } = requirePackage(platform) as { folder?: unknown }
    return typeof folder === 'string' ? place(name, folder) : { name, path, reason: 'does not tell its folder' }
  } catch (error) {
    const denial = isDenied(error) ? error : denialOf(path)
    if (denial) return { name, path, reason: firstLine(denial), cause: 'unreadable' }
    const isAbsent = (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND'
    return { name, path, reason: isAbsent ? 'not installed' : firstLine(error) }
  }
}

/** Why a package may not be read, which Node.js takes for absent or calls its configuration wrong. */
function denialOf(path: string): unknown {
  for (const folder of createRequire(import.meta.url).resolve.paths(path) ?? []) {
    if (basename(folder) !== 'node_modules') continue // one of the user's, unasked for
    try {
      accessSync(join(folder, path, 'package.json'), constants.R_OK)
    } catch (error) {
      if (isDenied(error)) return error
    }
  }
  return undefined
}

/**
 * Tools that copy the files a program needs (`@vercel/nft`) read code without running it: they follow these names to the package's
 * module, and from there to its binaries.
 */
function requirePackage(platform: string): unknown {
  const require = createRequire(import.meta.url)
  switch (platform) {
    case 'darwin-arm64':
      return require('@intattn/acl-darwin-arm64')
    case 'linux-arm64':
      return require('@intattn/acl-linux-arm64')
    case 'linux-x64':
      return require('@intattn/acl-linux-x64')
    default:
      return {}
  }
}
