import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cpuFeatures } from './cpu-features.js'
import { LoaderError } from './errors.js'
import { type Addon, firstAddon, firstLine, native, platform } from './native.js'
import type { LibraryInfo } from './types.js'

/** Where engine `acl` is looked for, and the machine it is to run on. */
export interface Surroundings {
  /** Holds `intattn_acl.node` and, beside it, `intattn_acl.json`: what ComputeLibrary was built for. */
  folder: string
  platform: string
  /** Of the CPU, as Linux names them. */
  features: readonly string[]
}

let loaded: Addon | undefined

/** The addon with ComputeLibrary; loaded once per thread, after a check of the CPU. Throws a {@link LoaderError}. */
export function computeLibrary(): Addon {
  loaded ??= loadComputeLibrary(surroundings())
  return loaded
}

/** What engine `acl` was built for, and why it cannot run here; loads nothing. */
export function computeLibraryInfo(here = surroundings()): { library?: LibraryInfo; reason?: string } {
  const { library, obstacle } = examine(here)
  return { ...(library && { library }), ...(obstacle && { reason: obstacle.reason }) }
}

export function loadComputeLibrary(here: Surroundings): Addon {
  const path = addonIn(here.folder)
  const { library, obstacle } = examine(here)
  const found = obstacle ? { tried: [{ path, ...obstacle }] } : firstAddon([path])
  if (found.addon) return found.addon
  throw new LoaderError(
    {
      engine: 'acl',
      platform: here.platform,
      detectedFeatures: here.features,
      requiredFeatures: library?.requires ?? [],
      tried: found.tried.map(({ path, reason }) => ({ path, reason })),
      remedies: [
        ...(obstacle?.remedy ?? [`rebuild it for ${here.platform} with ${build}`]),
        "ask for engine 'native', the default, which runs here",
      ],
    },
    found.cause === undefined ? undefined : { cause: found.cause },
  )
}

interface Obstacle {
  reason: string
  remedy: string[]
}

const build = '`npx nx run acl:build` at the root of the repository'
const addonIn = (folder: string) => join(folder, 'intattn_acl.node')

/** Everything that can be known before the binary is loaded: code for another CPU would end the process. */
function examine({ folder, platform, features }: Surroundings): { library?: LibraryInfo; obstacle?: Obstacle } {
  const reject = (reason: string, remedy: string[], library?: LibraryInfo) => ({
    obstacle: { reason, remedy },
    ...(library && { library }),
  })
  if (!platform.endsWith('-arm64')) return reject(`ComputeLibrary runs on arm64, and this is ${platform}`, [])
  const path = join(folder, 'intattn_acl.json')
  if (!existsSync(path) || !existsSync(addonIn(folder))) {
    return reject(`not built: no ${existsSync(path) ? addonIn(folder) : path}`, [`build it with ${build}`])
  }
  const library = readInfo(path)
  if (typeof library === 'string') return reject(`${path}: ${library}`, [`rebuild it with ${build}`])
  if (library.target !== platform) {
    return reject(`built for ${library.target}, and this is ${platform}`, [`rebuild it with ${build}`], library)
  }
  const missing = library.requires.filter((name) => !features.includes(name))
  if (missing.length === 0) return { library }
  const reason = `built for ${library.cpu}, and this CPU lacks ${missing.join(', ')}`
  const other = platform === 'linux-arm64' && library.cpu !== oldest
  return reject(reason, other ? [`build it for older CPUs with \`npx nx run acl:build --cpu ${oldest}\``] : [], library)
}

/** Of the CPUs that ComputeLibrary is built for on Linux. */
const oldest = 'armv8.2-a'

/** What the file says, or what is wrong with it. */
function readInfo(path: string): LibraryInfo | string {
  try {
    const { version, target, cpu, requiredFeatures } = JSON.parse(readFileSync(path, 'utf8'))
    const isText = (value: unknown) => typeof value === 'string'
    if (![version, target, cpu].every(isText)) return 'expected version, target and cpu'
    if (!Array.isArray(requiredFeatures) || !requiredFeatures.every(isText)) return 'expected requiredFeatures'
    return { version, target, cpu, requires: requiredFeatures }
  } catch (error) {
    return firstLine(error)
  }
}

function surroundings(): Surroundings {
  const folder = fileURLToPath(new URL('../build/Release', import.meta.url))
  return { folder, platform, features: detectedFeatures() }
}

/** Told by the native engine, which every CPU runs; else by the system. */
function detectedFeatures(): readonly string[] {
  try {
    return native().cpuFeatures()
  } catch {
    return cpuFeatures() ?? []
  }
}
