import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const packageName = '@intattn/acl'

/** This package where it is installed. */
export interface Installation {
  folder: string
  version: string
  /** Whether the sources are here to be built. */
  isCheckout: boolean
}

/** Undefined where the code does not lie below its own package.json, as when a bundler moved it. */
export function installation(): Installation | undefined {
  try {
    const folder = fileURLToPath(new URL('../..', import.meta.url))
    const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    if (name !== packageName || typeof version !== 'string') return undefined
    return { folder, version, isCheckout: existsSync(join(folder, 'src')) }
  } catch {
    return undefined
  }
}
