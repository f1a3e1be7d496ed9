import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { unsuitability } from '../addons/attempts.js'
import { cpuFeatures } from '../addons/cpu-features.js'
import { examine, type Refusal } from '../addons/examine.js'
import type { AddonEngine, AddonEntry } from '../addons/manifest.js'
import { remedies } from '../addons/remedies.js'
import { type Surroundings, surroundings } from '../addons/surroundings.js'
import { firstLine } from '../checks/describe.js'
import type { AddonPlace, EngineName } from '../types.js'
import { type Probe, probe } from './probe.js'
import type { AddonReport, DoctorReport, ProbeVerdict } from './report.js'

/** Looks at everything that decides which engine runs here. Loads no addon into this process. */
export async function diagnose(timeLimitMs: number): Promise<DoctorReport> {
  const here = surroundings()
  const native = await tryAddons('native', here, cpuFeatures() ?? [], timeLimitMs)
  const features = native.find(({ cpuFeatures }) => cpuFeatures)?.cpuFeatures ?? cpuFeatures() ?? []
  const tried = [...native, ...(await tryAddons('acl', here, features, timeLimitMs))]
  const byDefault = await probe(['default'], timeLimitMs)
  const { chosen } = byDefault
  const used = tried.find((addon) => isUsed(addon, chosen?.engine ?? engineAskedFor(), chosen?.place))
  const isDamaged = used?.report.verdict === 'damaged'
  const reason = isDamaged ? `${used.report.file} is damaged` : byDefault.reason
  const works = byDefault.verdict === 'works' && !isDamaged
  return {
    version: here.version ?? null,
    platform: here.platform,
    node: process.version,
    system: here.system() ?? null,
    cpuFeatures: features,
    environment: {
      INTATTN_ENGINE: process.env.INTATTN_ENGINE || null,
      INTATTN_ISA: process.env.INTATTN_ISA || null,
      INTATTN_ADDONS: process.env.INTATTN_ADDONS || null,
    },
    places: here.places.map((place) => {
      const { path, refusal } = examine(place, here, features)
      return {
        place: place.name,
        path: refusal ? path : place.path,
        ...(refusal && { reason: refusal.reason }),
        addons: tried.filter((addon) => addon.place === place.name).map(({ report }) => report),
      }
    }),
    default: { works, ...(reason !== undefined && { reason }), ...chosen },
    remedies: works ? [] : (byDefault.remedies ?? remediesForBroken(byDefault.verdict, used, here)),
  }
}

interface Tried {
  place: AddonPlace
  path: string
  report: AddonReport
  /** By the loader: because of what can be seen before it is loaded, or because it did not load. */
  isPassedOver: boolean
  /** As the addon tells them. */
  cpuFeatures?: readonly string[]
}

async function tryAddons(
  engine: AddonEngine,
  here: Surroundings,
  features: readonly string[],
  timeLimitMs: number,
): Promise<Tried[]> {
  const unsuitable = unsuitability(engine, here.platform)
  const tried: Tried[] = []
  for (const place of here.places) {
    for (const { path, entry, refusal = unsuitable } of examine(place, here, features).candidates) {
      if (entry.engine !== engine) continue
      const flaw = refusal ?? differenceOfDigests(path, entry)
      const { verdict, reason, instructionSets, cpuFeatures }: Omit<Probe, 'verdict'> & Pick<AddonReport, 'verdict'> =
        flaw
          ? { verdict: flaw.cause === 'damaged' ? 'damaged' : 'unfit', reason: flaw.reason }
          : await probe([engine, path], timeLimitMs)
      const report: AddonReport = {
        ...entry,
        verdict,
        ...(reason !== undefined && { reason }),
        ...(instructionSets && { instructionSets }),
      }
      const isPassedOver = refusal !== undefined || verdict === 'refused'
      tried.push({ place: place.name, path, report, isPassedOver, ...(cpuFeatures && { cpuFeatures }) })
    }
  }
  return tried
}

/** Why a file is not the one that was packed. */
function differenceOfDigests(path: string, { sha256 }: AddonEntry): Refusal | undefined {
  try {
    const found = createHash('sha256').update(readFileSync(path)).digest('hex')
    return found === sha256 ? undefined : { cause: 'damaged', reason: `damaged: sha256 ${found}, expected ${sha256}` }
  } catch (error) {
    return { cause: 'file', reason: firstLine(error) }
  }
}

const engineAskedFor = (): AddonEngine => (process.env.INTATTN_ENGINE === 'acl' ? 'acl' : 'native')

/** Whether the loader takes this one of the addons of an engine, if it takes none before; in any place, where none is given. */
const isUsed = ({ report, place, isPassedOver }: Tried, engine: EngineName, from: AddonPlace = place): boolean =>
  report.engine === engine && place === from && !isPassedOver

/** @param used the addon that the default engine is in, if it got that far */
function remediesForBroken(verdict: ProbeVerdict, used: Tried | undefined, here: Surroundings): string[] {
  const engine = engineAskedFor()
  const cause = used?.report.verdict === 'damaged' ? 'damaged' : 'load'
  const attempts = used
    ? [{ ...used, refusal: { cause, reason: used.report.reason ?? used.report.verdict } } as const]
    : []
  const isSlow = verdict === 'hung'
  const isWrong = engine === 'native' && cause === 'load'
  return [
    ...(isSlow ? ['give it more time with --timeout'] : []),
    ...(isWrong ? ['set INTATTN_ISA=scalar, where it is the faster instruction sets that fail'] : []),
    ...remedies(engine, attempts, here),
  ]
}
