import type { NumericArray } from '../checks/buffers.js'
import type { Scope } from '../checks/scopes.js'
import type { ResolvedTable } from '../options/table.js'
import type { ElementType, Intermediates, Normalization } from '../types.js'

/** Counts changes of this interface, so that an addon built before one is not mistaken for its successor; `addon.cc` has the same. */
export const interfaceVersion = 6

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
  Attention: new (options: NativeOptions | NativeBlockOptions) => NativeAttention
  KvCache: new (options: NativeCacheOptions) => NativeCache
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
  valueDim: number
  causal: boolean
  /** 0: none. This, `alibiSlopes` and `sinks`: with `fp32` and `fp16` only. */
  window: number
  keepFirst: number
  alibiSlopes: Float32Array | undefined
  sinks: Float32Array | undefined
  softmaxScale: number
  queryScope: number
  keyScope: number
  valueScope: number
  smoothKey: boolean
  centerValue: boolean
  threads: number
  isa: string
}

/** Version 2 of the numerics; an object made so takes {@link NativeBlockCall}s. */
export interface NativeBlockOptions {
  version: 2
  heads: number
  kvHeads: number
  headDim: number
  valueDim: number
  softmaxScale: number
  causal: boolean
  /** 0: none. */
  window: number
  keepFirst: number
  rotate: boolean
  queryBits: number
  keyBits: number
  valueBits: number
  planeBits: number
  keyOffset: Float32Array | undefined
  valueOffset: Float32Array | undefined
  alibiSlopes: Float32Array | undefined
  sinks: Float32Array | undefined
  threads: number
  isa: string
}

/** What a run says of the keys its rows see, `keyLengths` apart. */
export interface NativeMasks {
  queryStart: Int32Array | undefined
  mask: NumericArray | undefined
  maskDims: Uint32Array | undefined
  bias: Float32Array | undefined
  biasDims: Uint32Array | undefined
}

/** An empty cache, or one that was saved: then the rest is in the bytes. */
export type NativeCacheOptions = { isa: string; threads: number } & (
  | { saved: Uint8Array }
  | (Pick<NativeBlockOptions, 'kvHeads' | 'headDim' | 'valueDim' | 'rotate' | 'keyBits' | 'valueBits'> &
      Pick<NativeBlockOptions, 'keyOffset' | 'valueOffset'>)
)

/** A quantized cache. What changes it gives an {@link Outcome}. */
export interface NativeCache {
  length(): number
  bytes(): number
  append(rows: NativeRows): Outcome
  truncate(length: number): Outcome
  /** @param target takes the rows instead of its own */
  fork(target: NativeCache): Outcome
  reserve(keys: number): Outcome
  release(window: number, keepFirst: number): Outcome
  read(
    first: number,
    count: number,
    key: Int8Array,
    value: Int8Array,
    keyScale: Float32Array,
    valueScale: Float32Array,
  ): Outcome
  save(): Uint8Array
  /** Frees it, after the runs that use it. */
  dispose(): void
}

/** Rows that a cache is to take, [1, kvHeads, count, dim]. */
export interface NativeRows extends Pick<NativeBlockCall, KeyAndValue> {
  count: number
}

type KeyAndValue = `${'key' | 'value'}${'' | 'Type' | 'Strides' | 'Scale'}`

/** A run of version 2 over caches. */
export interface NativeCachedCall
  extends Omit<NativeBlockCall, KeyAndValue | 'keyLength' | 'keyLengths' | 'smoothKey' | 'centerValue'> {
  /** One per batch item. */
  caches: readonly NativeCache[]
}

/** A run of version 2. */
export interface NativeBlockCall extends NativeMasks {
  batch: number
  queryLength: number
  keyLength: number
  query: NumericArray
  /** {@link elementTypeCode}, as those below. */
  queryType: number
  /** [batch, head, row] in elements, as those below. */
  /** Undefined: dense, as those below. */
  queryStrides: Float64Array | undefined
  /** One per row, as the two below; of int8 only. */
  queryScale: Float32Array | undefined
  key: NumericArray
  keyType: number
  keyStrides: Float64Array | undefined
  keyScale: Float32Array | undefined
  value: NumericArray
  valueType: number
  valueStrides: Float64Array | undefined
  valueScale: Float32Array | undefined
  keyLengths: Uint32Array | undefined
  smoothKey: boolean
  centerValue: boolean
  output: NumericArray
  outputType: number
  outputStrides: Float64Array | undefined
  logSumExp: Float32Array | undefined
  intermediates: NativeBlockIntermediates | undefined
  /** Receives total, prepare, scores, softmax, values, output in milliseconds. */
  times: Float64Array
}

/** Named as in `BlockIntermediates` of TypeScript; absent exponents are -1 and -32768. */
export interface NativeBlockIntermediates {
  query: Int16Array
  key: Int8Array
  value: Int8Array
  queryScale: Float32Array
  keyScale: Float32Array
  valueScale: Float32Array
  unit: Float32Array
  plane: Uint16Array
  blockExponent: Int16Array
  valueExponent: Int16Array
  shift: Int16Array
  rowSum: BigUint64Array
}

/** In the order of the C++ enumeration. */
const scopes: readonly Scope[] = ['tensor', 'head', 'row', 'channel']

export const scopeCode = (scope: Scope): number => scopes.indexOf(scope)

/** In the order of the C++ enumeration. */
const elementTypes: readonly ElementType[] = ['float32', 'float16', 'int8', 'bfloat16']

export const elementTypeCode = (type: ElementType): number => elementTypes.indexOf(type)

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
  nonFiniteBias: 6,
  nonFiniteOutput: 7,
  overlapsQuery: 8,
  overlapsKey: 9,
  overlapsValue: 10,
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
  /** Mask and bias: with `fp32` and `fp16` only. */
  masks: NativeMasks,
  /** Receives total, prepare, scores, softmax, values, output in milliseconds. */
  times: Float64Array,
) => Result

/** A {@link status}, or what the library behind the engine said when it refused or failed. */
export type Outcome = number | string

export interface NativeAttention {
  run: NativeRun<Promise<Outcome>> & ((call: NativeBlockCall | NativeCachedCall) => Promise<Outcome>)
  runSync: NativeRun<Outcome> & ((call: NativeBlockCall | NativeCachedCall) => Outcome)
  memoryBytes(): number
  /** Frees the working memory, after the run under way if there is one. */
  dispose(): void
}
