import { dirname, isAbsolute } from 'node:path'
import type { Refused } from './attempts.js'
import { packageName } from './installation.js'
import type { AddonEngine } from './manifest.js'
import { platformPackage, publishedPlatforms } from './places.js'
import type { Surroundings } from './surroundings.js'

/** What to do when an engine does not load, likeliest first. */
export function remedies(engine: AddonEngine, refused: readonly Refused[], here: Surroundings): string[] {
  const found =
    here.version === undefined ? [unbundle] : refused.flatMap((attempt) => remediesFor(attempt, engine, here))
  return [...new Set(found), fallback[engine]]
}

const unbundle = `leave ${packageName} out of the bundle (bundlers call it external) and install it beside`

const fallback: Record<AddonEngine, string> = {
  native: "ask for engine 'reference' by option or by INTATTN_ENGINE (slow)",
  acl: "ask for engine 'native', the default, by option or by INTATTN_ENGINE",
}

const fromSource =
  'build it from source (`npm ci && npm run build` in the repository) and set INTATTN_ADDONS to its packages/acl/build/Release'

function remediesFor(attempt: Refused, engine: AddonEngine, here: Surroundings): string[] {
  const { place, path, refusal } = attempt
  const obstacle = obstacleRemedy(attempt)
  if (obstacle !== undefined) return [obstacle]
  if (refusal.cause === 'engine') return []
  switch (place) {
    case 'INTATTN_ADDONS':
      return [`set INTATTN_ADDONS to a folder of addons of version ${here.version} for ${here.platform}, or unset it`]
    case 'local build':
      return localBuild(attempt, engine, here)
    case 'platform package':
      return path === platformPackage(here.platform) ? absentPackage(here) : presentPackage(attempt, here)
  }
}

/** Where the files are as they should be: what stands in their way, wherever they lie. */
function obstacleRemedy({ path, refusal }: Refused): string | undefined {
  const folder = isAbsolute(path) ? dirname(path) : `the folder of ${path}`
  switch (refusal.cause) {
    case 'disabled':
      return isRestricted()
        ? 'let Node.js load addons: --allow-addons beside --permission'
        : 'start Node.js without --no-addons (also in NODE_OPTIONS), which keeps it from loading any addon'
    case 'unreadable':
      return isRestricted()
        ? `let Node.js read ${folder}: --allow-fs-read beside --permission`
        : `let the user that runs Node.js read ${folder}: \`chmod -R a+rX\` by its owner`
    case 'noexec':
      return `the file system of ${folder} may hold no programs: mount it without noexec, or install elsewhere`
    case 'library':
      return 'install the shared library that is named above, with the package manager of the system'
    default:
      return undefined
  }
}

/** Whether Node.js's permission model is on: `--permission`, before Node.js 22.13 `--experimental-permission`. */
const isRestricted = (): boolean => process.permission !== undefined

const build: Record<AddonEngine, string> = {
  native: '`npm run build` at the root of the repository (needs CMake and a C++17 compiler)',
  acl: '`npx nx run acl:build` at the root of the repository',
}

/** Of the CPUs that ComputeLibrary is built for on Linux. */
const oldest = 'armv8.2-a'

function localBuild({ entry, refusal }: Refused, engine: AddonEngine, here: Surroundings): string[] {
  switch (refusal.cause) {
    case 'absent':
    case 'none':
      return here.isCheckout ? [`build it with ${build[engine]}`] : []
    case 'features':
      if (here.platform !== 'linux-arm64' || entry?.library?.cpu === oldest) return []
      return [`build it for older CPUs with \`npx nx run acl:build --cpu ${oldest}\``]
    default:
      return [`rebuild it for ${here.platform} with ${build[engine]}`]
  }
}

function absentPackage(here: Surroundings): string[] {
  const { isCheckout, platform, version } = here
  if (isCheckout) return []
  if (!publishedPlatforms.includes(platform)) {
    const published = `binaries are published for ${publishedPlatforms.join(', ')}: elsewhere, ${fromSource}`
    return platform === 'darwin-x64'
      ? ['on Apple silicon, run a Node.js that is built for arm64', published]
      : [published]
  }
  const [os, cpu] = platform.split('-')
  if (os === 'linux' && !here.system()) return otherSystem(here)
  const libc = os === 'linux' ? ' --libc=glibc' : ''
  return [
    `\`npm install --include=optional ${packageName}@${version}\`, where optional dependencies were left out`,
    `\`npm install --os=${os} --cpu=${cpu}${libc} ${packageName}@${version}\`, where node_modules or the lockfile come from another system`,
    `\`npm install --save-optional ${platformPackage(platform)}@${version}\``,
  ]
}

function presentPackage({ path, refusal }: Refused, here: Surroundings): string[] {
  const { platform, version } = here
  switch (refusal.cause) {
    case 'features':
      return []
    case 'version':
      return [`install the equal version: \`npm install --save-optional ${platformPackage(platform)}@${version}\``]
    case 'system':
      return otherSystem(here)
    default:
      return [`remove ${dirname(path)} and install it again`]
  }
}

/** The published binaries are for other libraries of the system than there are. */
function otherSystem(here: Surroundings): string[] {
  const system = here.system()
  const needed = system ? `a newer ${system.name}` : 'glibc: of images, a Debian or Ubuntu one in place of Alpine'
  return [`use a system with ${needed}`, fromSource]
}
