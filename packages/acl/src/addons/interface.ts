import type { NumericArray } from '../buffers.js'
import type { Scope } from '../scopes.js'
import type { ResolvedTable } from '../table.js'
import type { Intermediates, Normalization } from '../types.js'

/** Counts changes of this interface, so that an addon built before one is not mistaken for its successor; `addon.cc` has the same. */
export const interfaceVersion = 3

/** The C++ addon. It trusts TypeScript with everything but memory: each array's size is checked again on the other side. */
export interface Addon {
  /** {@link interfaceVersion} of the sources it was built from. */
  interfaceVersion: number
  /** What compiled it, with its version: `clang 19.1.7`. */
  compiler: string
  /** Features of this CPU that code here asks for, as Linux names them. */
  cpuFeatures(): string[]
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

/** In the order of the C++ enumeration. */
const scopes: readonly Scope[] = ['tensor', 'head', 'row', 'channel']

export const scopeCode = (scope: Scope): number => scopes.indexOf(scope)

export const normalizationCode = (normalization: Normalization): number => (normalization === 'integer' ? 0 : 1)

export function tableCode(table: ResolvedTable): { table: number; clip: number; lutBits: number } {
  return table.table === 'natural'
    ? { table: 0, clip: table.clip, lutBits: table.lutBits }
    : { table: 1, clip: 6.6, lutBits: 5 }
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

/** A {@link status}, or what the library behind the engine said when it refused or failed. */
export type Outcome = number | string

export interface NativeAttention {
  run: NativeRun<Promise<Outcome>>
  runSync: NativeRun<Outcome>
  memoryBytes(): number
  /** Frees the working memory, after the run under way if there is one. */
  dispose(): void
}
