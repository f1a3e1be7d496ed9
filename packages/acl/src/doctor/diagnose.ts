import { unsuitability } from '../addons/attempts.js'
import { examine } from '../addons/examine.js'
import type { AddonEngine } from '../addons/manifest.js'
import { remedies } from '../addons/remedies.js'
import { type Surroundings, surroundings } from '../addons/surroundings.js'
import { cpuFeatures } from '../cpu-features.js'
import type { AddonPlace } from '../types.js'
import { type Probe, probe } from './probe.js'
import type { AddonReport, DoctorReport, ProbeVerdict } from './report.js'

/** Looks at everything that decides which engine runs here. Loads no addon into this process. */
export async function diagnose(timeLimitMs: number): Promise<DoctorReport> {
  const here = surroundings()
  const native = await tryAddons('native', here, cpuFeatures() ?? [], timeLimitMs)
  const features = native.find(({ cpuFeatures }) => cpuFeatures)?.cpuFeatures ?? cpuFeatures() ?? []
  const tried = [...native, ...(await tryAddons('acl', here, features, timeLimitMs))]
  const byDefault = await probe(['default'], timeLimitMs)
  const { verdict, reason, chosen } = byDefault
  const works = verdict === 'works'
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
    remedies: works ? [] : (byDefault.remedies ?? remediesForBroken(verdict, tried, here)),
  }
}

interface Tried {
  place: AddonPlace
  path: string
  report: AddonReport
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
      const { verdict, reason, instructionSets, cpuFeatures }: Omit<Probe, 'verdict'> & Pick<AddonReport, 'verdict'> =
        refusal ? { verdict: 'unfit', reason: refusal.reason } : await probe([engine, path], timeLimitMs)
      const report: AddonReport = {
        ...entry,
        verdict,
        ...(reason !== undefined && { reason }),
        ...(instructionSets && { instructionSets }),
      }
      tried.push({ place: place.name, path, report, ...(cpuFeatures && { cpuFeatures }) })
    }
  }
  return tried
}

/** The addon that is used does not work: it is the first that is not passed over. */
function remediesForBroken(verdict: ProbeVerdict, tried: readonly Tried[], here: Surroundings): string[] {
  const engine = process.env.INTATTN_ENGINE === 'acl' ? 'acl' : 'native'
  const used = tried.find(({ report }) => report.engine === engine && !passedOver.includes(report.verdict))
  const attempts = used
    ? [{ ...used, refusal: { cause: 'load', reason: used.report.reason ?? used.report.verdict } } as const]
    : []
  return [
    ...(verdict === 'hung' ? ['give it more time with --timeout'] : []),
    ...(engine === 'native' ? ['set INTATTN_ISA=scalar, where it is the faster instruction sets that fail'] : []),
    ...remedies(engine, attempts, here),
  ]
}

const passedOver: readonly AddonReport['verdict'][] = ['unfit', 'refused']
