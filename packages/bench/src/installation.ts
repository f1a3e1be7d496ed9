import { existsSync, readFileSync } from 'node:fs'

/** Version of this package. */
export const version: string = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version

/** Whether this is the repository, and not an installed package. */
export const isCheckout: boolean = existsSync(new URL('../src', import.meta.url))

/** How one starts this program, flags following. */
export const command: string = isCheckout ? 'npm run bench --' : 'npx @intattn/bench'
