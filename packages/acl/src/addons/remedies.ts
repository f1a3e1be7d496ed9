import { dirname } from 'node:path'
import { packageName } from '../installation.js'
import type { Refused } from './attempts.js'
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
  if (attempt.refusal.cause === 'engine') return []
  switch (attempt.place) {
    case 'INTATTN_ADDONS':
      return [`set INTATTN_ADDONS to a folder of addons of version ${here.version} for ${here.platform}, or unset it`]
    case 'local build':
      return localBuild(attempt, engine, here)
    case 'platform package':
      return attempt.refusal.cause === 'absent' ? absentPackage(here) : presentPackage(attempt, here)
  }
}

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
  if (os === 'linux' && !here.system()) return [`the published binaries need glibc: elsewhere, ${fromSource}`]
  const libc = os === 'linux' ? ' --libc=glibc' : ''
  return [
    `\`npm install --include=optional ${packageName}@${version}\`, where optional dependencies were left out`,
    `\`npm install --os=${os} --cpu=${cpu}${libc} ${packageName}@${version}\`, where node_modules or the lockfile come from another system`,
    `\`npm install --save-optional ${platformPackage(platform)}@${version}\``,
  ]
}

function presentPackage({ path, refusal }: Refused, { platform, version }: Surroundings): string[] {
  switch (refusal.cause) {
    case 'features':
      return []
    case 'version':
      return [`install the equal version: \`npm install --save-optional ${platformPackage(platform)}@${version}\``]
    case 'system':
      return [fromSource]
    default:
      return [`remove ${dirname(path)} and install it again`]
  }
}
