import type { AddonPlace, EngineName, InstructionSet, LibraryInfo } from '../types.js'

/** What `intattn doctor --json` prints: everything that decides which engine runs here, and what to do where none does. */
export interface DoctorReport {
  /** Of this package; null where its package.json is not above its code. */
  version: string | null
  /** As in `process.platform` and `process.arch`. */
  platform: string
  node: string
  /** The C library of Linux, or macOS; null: musl, another or unknown. */
  system: { name: 'glibc' | 'macOS'; version: string } | null
  /** That this package asks for, as Linux names them. */
  cpuFeatures: readonly string[]
  /** Variables that decide; null: not set. */
  environment: { INTATTN_ENGINE: string | null; INTATTN_ISA: string | null; INTATTN_ADDONS: string | null }
  /** In the order in which they are looked at. */
  places: readonly PlaceReport[]
  default: DefaultReport
  /** What to do, likeliest first; none when the default works. */
  remedies: readonly string[]
}

/** A place where addons are looked for. */
export interface PlaceReport {
  place: AddonPlace
  /** The folder, or what is wrong with it: its `addons.json`, a package that is not there. */
  path: string
  /** Why nothing of it can be used. */
  reason?: string
  /** Those of the native engine first; per engine in the order in which they are tried. */
  addons: readonly AddonReport[]
}

/** An addon, as `addons.json` names it. */
export interface AddonReport {
  engine: EngineName
  file: string
  /** In bytes, as `sha256` of what was packed. */
  size: number
  sha256: string
  requiredFeatures: readonly string[]
  /** Of engine `acl`. */
  library?: LibraryInfo
  /**
   * - `unfit`: not to be loaded here, therefore not tried
   * - `damaged`: not the file that was packed, therefore not tried
   * - `works`: computes what the reference engine computes
   * - `refused`: does not load; the next one is tried
   * - `wrong`: computes something else, or nothing
   * - `crashed`, `hung`: its process ended, or was ended after the time limit
   */
  verdict: 'unfit' | 'damaged' | ProbeVerdict
  /** Why it does not work. */
  reason?: string
  /** Of the native engine: with which it works. */
  instructionSets?: readonly InstructionSet[]
}

export type ProbeVerdict = 'works' | 'refused' | 'wrong' | 'crashed' | 'hung'

/** What an `Attention` gets that asks for no engine, in a process of its own. */
export interface DefaultReport {
  works: boolean
  /** Why not. */
  reason?: string
  /** Absent where the choice failed. */
  engine?: EngineName
  /** Of the native engine. */
  isa?: InstructionSet
  place?: AddonPlace
}
