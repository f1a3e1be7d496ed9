import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { NumericArray } from './buffers.js'
import { cpuFeatures } from './cpu-features.js'
import { LoaderError } from './errors.js'
import type { Intermediates } from './types.js'

/** The C++ addon. It trusts TypeScript with everything but memory: each array's size is checked again on the other side. */
export interface Addon {
  /** From the most portable to the fastest. */
  instructionSets(): NativeInstructionSet[]
  /** The fastest instruction set that can run here. */
  bestInstructionSet(): string
  Attention: new (options: NativeOptions) => NativeAttention
  indexSoftmax(
    scores: Int32Array,
    cols: number,
    logitScale: Float64Array,
    valid: Uint8Array | undefined,
    probabilities: Uint8Array,
    rowSum: Uint32Array,
    lost: Int32Array,
    options: NativeTableOptions & { isa: string },
  ): void
  /** @returns false when a value is not finite */
  quantize(
    values: NumericArray,
    dims: readonly number[],
    quantized: Int8Array,
    scale: Float32Array,
    mean: Float32Array | undefined,
    options: { scope: number; isa: string },
  ): boolean
}

export interface NativeInstructionSet {
  name: string
  requires: string
  compiled: boolean
  available: boolean
}

/** Enumerations are passed as their C++ values. */
export interface NativeTableOptions {
  table: number
  clip: number
  lutBits: number
  normalization: number
}

export interface NativeOptions extends NativeTableOptions {
  pipeline: number
  heads: number
  kvHeads: number
  headDim: number
  causal: boolean
  softmaxScale: number
  queryScope: number
  keyScope: number
  valueScope: number
  smoothKey: boolean
  centerValue: boolean
  threads: number
  isa: string
}

/** What `run` and `runSync` give; `overlaps…`: that input shares memory with the output. */
export const status = {
  ok: 0,
  nonFiniteQuery: 1,
  nonFiniteKey: 2,
  nonFiniteValue: 3,
  outOfMemory: 4,
  overlapsQuery: 5,
  overlapsKey: 6,
  overlapsValue: 7,
} as const

export type NativeRun<Result> = (
  batch: number,
  queryLength: number,
  keyLength: number,
  query: NumericArray,
  queryScale: Float32Array | undefined,
  key: NumericArray,
  keyScale: Float32Array | undefined,
  value: NumericArray,
  valueScale: Float32Array | undefined,
  keyLengths: Uint32Array | undefined,
  output: NumericArray,
  intermediates: Intermediates | undefined,
  /** Receives total, prepare, scores, softmax, values, output in milliseconds. */
  times: Float64Array,
) => Result

export interface NativeAttention {
  run: NativeRun<Promise<number>>
  runSync: NativeRun<number>
  memoryBytes(): number
  /** Frees the working memory, after the run under way if there is one. */
  dispose(): void
}

const addonPath = fileURLToPath(new URL('../build/Release/intattn.node', import.meta.url))
let loaded: Addon | undefined

/** The addon; loaded once per thread. Throws a {@link LoaderError}. */
export function native(): Addon {
  loaded ??= loadAddon([addonPath])
  return loaded
}

/** The first of the files that loads. */
export function loadAddon(paths: readonly string[]): Addon {
  const require = createRequire(import.meta.url)
  const tried: { path: string; reason: string }[] = []
  let cause: unknown
  for (const path of paths) {
    if (!existsSync(path)) {
      tried.push({ path, reason: 'no such file' })
      continue
    }
    try {
      return require(path) as Addon
    } catch (error) {
      cause ??= error
      tried.push({ path, reason: firstLine(error) })
    }
  }
  const platform = `${process.platform}-${process.arch}`
  const build =
    cause === undefined
      ? 'build it with `npm run build` at the root of the repository (needs CMake and a C++17 compiler)'
      : `rebuild it for ${platform} on this machine with \`npm run build\` at the root of the repository`
  throw new LoaderError(
    {
      platform,
      detectedFeatures: cpuFeatures() ?? [],
      requiredFeatures: [],
      tried,
      remedies: [build, "ask for engine 'reference' by option or by INTATTN_ENGINE (slow)"],
    },
    cause === undefined ? undefined : { cause },
  )
}

const firstLine = (error: unknown): string => String(error instanceof Error ? error.message : error).split('\n')[0]!
