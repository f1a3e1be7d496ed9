import type { KvCache } from './kv-cache.js'

/** What is computed. The paper's numbering (`--pipe`) is the order of {@link pipelines}. */
export type Pipeline = 'fp32' | 'fp16' | 'int8' | 'int'

/** Pipelines in the paper's order: index 0 … 3. */
export const pipelines: readonly Pipeline[] = ['fp32', 'fp16', 'int8', 'int']

/**
 * Who computes it: C++ kernels of this package, Arm ComputeLibrary's operators one after the other (arm64; the paper's way, which
 * stores scores and probabilities whole), or plain TypeScript (slow; the oracle of every test).
 */
export type EngineName = 'native' | 'acl' | 'reference'
/** Engines of {@link quantize} and {@link indexSoftmax}. */
export type StepEngineName = Exclude<EngineName, 'acl'>

/** Instruction sets of the `native` engine, per architecture from the most portable to the fastest. */
export const instructionSets = ['scalar', 'avx2', 'avxvnni', 'avx512vnni', 'neon-dotprod', 'neon-i8mm'] as const

export type InstructionSet = (typeof instructionSets)[number]

/** Bases of the exponential table: e, clipped, or powers of two in 240 steps. */
export type Table = 'natural' | 'exp2'
/** Normalized uint8 probabilities, or table entries with one division per output row. */
export type Normalization = 'integer' | 'deferred'
/** Presets of version 2 of the numeric specification; pipeline `int`, engines `native` and `reference`. */
export const blockPresets = ['precise', 'fast', 'compact', 'finest'] as const
/** Presets of version 1: as published, and the most accurate of that version. */
export const indexPresets = ['paper', 'precise-1'] as const

/**
 * Sets of defaults, and with them the arithmetic: a name never means two. Version 2 of the numeric specification (a scale per row,
 * rotation, a polynomial instead of a table, sums in blocks of 64 keys; outputs are exact to the bit):
 *
 * - `precise`: 8 bits everywhere
 * - `fast`: keys and probabilities at 7 bits, so that 8-bit multiplications cannot saturate
 * - `compact`: values at 4 bits
 * - `finest`: queries at 15 and probabilities at 14 bits
 *
 * Version 1 (IndexSoftmax: a table and 8-bit probabilities per row): `paper`, as published, and `precise-1`.
 */
export type Preset = (typeof blockPresets)[number] | (typeof indexPresets)[number]

/** Which values of a tensor share one scale. */
export interface Quantization {
  /** Default `row` (`precise-1`) or `tensor` (`paper`). */
  query: 'tensor' | 'head' | 'row'
  /** Default `head` or `tensor`. Never per row: one softmax row must share one scale. */
  key: 'tensor' | 'head'
  /** Default `channel` or `tensor`. */
  value: 'tensor' | 'head' | 'channel'
}

/** Parameters of IndexSoftmax's exponential table. */
export interface TableOptions {
  /** Default `exp2` (`precise-1`) or `natural` (`paper`). */
  table?: Table
  /** `natural` only: logits this far below the row maximum weigh nothing. Positive; default 6.6. */
  clip?: number
  /** `natural` only: the table has 2^lutBits entries. Default 5. */
  lutBits?: 4 | 5 | 6
}

/**
 * Options of {@link Attention}; fixed for its life.
 *
 * Row i of batch item b stands at position p = queryStart[b] + i ({@link AttentionInputs.queryStart}) and sees key j if all of these
 * hold: j < keyLengths[b]; with `causal`, j <= p; with `window`, j > p - window or j < keepFirst; the mask has it; and the bias is not
 * -infinity. A row that sees no key gives zeros.
 */
export interface AttentionOptions extends TableOptions {
  /**
   * Default `int`. With `fp32`, the native engine rejects scores that overflow float32; engine `acl` stores scores before
   * `softmaxScale` and rejects those that overflow float32, or float16 with `fp16`.
   */
  pipeline?: Pipeline
  heads: number
  /** Divides `heads`; default `heads`. Fewer is grouped-query, 1 is multi-query attention. */
  kvHeads?: number
  /** Of queries and keys, 1 … 1024. */
  headDim: number
  /** Of values and outputs, 1 … 1024; default `headDim`. */
  valueDim?: number
  /** A row at position p sees keys j <= p. Default false. */
  causal?: boolean
  /** A row at position p sees keys j > p - window, at least 1; default: no limit. Says nothing of keys beyond p: `causal` does. */
  window?: number
  /** Keys that the window never hides: the first so many; default 0. Does nothing without `window`, and does not override `causal`. */
  keepFirst?: number
  /** Factor of Q·K before the exponential. Positive, with presets of version 2 from 2^-20 to 2^20; default 1 / sqrt(headDim). */
  softmaxScale?: number
  /**
   * ALiBi: slope * (j - p) is added to the logits of a head, [heads], magnitudes below 2^60, rounded to float32. Not with pipeline `int`
   * and presets of version 1, whose table index has no place for it.
   */
  alibiSlopes?: Float32Array | readonly number[]
  /**
   * One more logit per head that takes part in the softmax and has no value, [heads], below 2^100 and rounded to float32; -Infinity:
   * none. Not with pipeline `int` and presets of version 1.
   */
  sinks?: Float32Array | readonly number[]
  /**
   * Not supported: c · tanh(x / c) in float32 differs from one processor's mathematical library to the next, and an exact one needs an
   * integer table of its own.
   */
  softcap?: never
  /**
   * The arithmetic, and the defaults of the options below. Only the `int8` and `int` pipelines have any. Pipeline `int` has all, and
   * {@link defaultPreset} as the default; pipeline `int8` and engine `acl` have those of version 1, and `precise-1` as the default.
   */
  preset?: Preset
  /**
   * Subtract K's mean per channel before quantizing: the softmax does not change, its error shrinks. Default, version 1: `precise-1`
   * yes, `paper` no. Version 2: yes, unless there is a causal mask, window, mask, bias, slope, sink, `keyOffset` or an int8 key: a mean
   * over all keys would tell a row of keys that it must not see. Not with sinks: the shift would not cancel.
   */
  smoothKey?: boolean
  /** Subtract V's mean per channel before quantizing and add it back to the output. Defaults as with `smoothKey`. Not with sinks. */
  centerValue?: boolean
  /** Version 2, as all below to `planeBits`: spread outliers over the channels before quantizing, by a Walsh-Hadamard transform. Default true. */
  rotate?: boolean
  /** Default 8, `finest` 15. */
  queryBits?: 8 | 15
  /** Default 8, `fast` 7. int8 keys must then lie within ±63; with 4 bits there are none. */
  keyBits?: 8 | 7 | 4
  /** Default 8, `compact` 4. No int8 values with 4 bits. */
  valueBits?: 8 | 4
  /** Bits of the integer probabilities; default 8, `fast` 7, `finest` 14. */
  planeBits?: 8 | 7 | 14
  /**
   * Version 2: subtract this from every key before quantizing, instead of a mean: [kvHeads, headDim], finite, rounded to float32. Neither
   * with an int8 key nor with sinks.
   */
  keyOffset?: Float32Array | readonly number[]
  /** Version 2: subtract this from every value and add it to the output, [kvHeads, valueDim]. Neither with an int8 value nor with sinks. */
  valueOffset?: Float32Array | readonly number[]
  /** Version 1. */
  quantization?: Partial<Quantization>
  /** Version 1, pipeline `int`. */
  normalization?: Normalization
  /**
   * Most threads that work on a run, 1 … 256; default: what this process may use ({@link availableResources}). The threads beside the
   * one that calls are shared: a process has as many as its largest number of `threads` asks for, or as the machine runs at once, and
   * objects that run at the same time divide them up. Objects of engine `acl` take turns; the reference engine uses one thread.
   */
  threads?: number
  /** Default: environment variable INTATTN_ENGINE, else `native`. */
  engine?: EngineName
  /** Instruction set of the native engine; default: environment variable INTATTN_ISA, else the fastest that runs here. */
  isa?: InstructionSet
}

/** Element types of tensors. */
export type TensorType = 'float32' | 'float16' | 'bfloat16' | 'int8'

/** Where the elements of a tensor are. */
export interface TensorLayout {
  dims: readonly number[]
  /**
   * Elements from one batch item, head and row to the next, each at least 0, and 1 for the last dimension: rows are contiguous. Default:
   * dense and row-major. [batch, length, heads, dim] in memory is [length · heads · dim, dim, heads · dim, 1]; 0 repeats what there is
   * once. No two elements of an output share a place.
   */
  strides?: readonly number[]
}

/**
 * A tensor in onnxruntime-common's vocabulary, with strides; `type` tells the class of `data`, which may be a view at any offset of a
 * larger buffer, shared or not. Without strides it must hold exactly the product of `dims`, with strides everything they lead to.
 *
 * It is used in place, with two exceptions: an asynchronous run copies arrays on resizable buffers; and strides and bfloat16 are read and
 * written by presets of version 2 on the native engine alone, in query, key, value and output, while everything else works on a dense
 * copy, with bfloat16 as float32. Results are the same to the bit.
 */
export type Tensor = FloatTensor | Int8Tensor

/** What a tensor of this package may hold. */
export type ElementType = TensorType | BoolTensor['type']

/** Which keys are seen: 0 = not, anything else = seen. */
export interface BoolTensor extends TensorLayout {
  type: 'bool'
  data: Uint8Array
  scale?: undefined
}

/** A {@link Tensor} of floating-point numbers. */
export type FloatTensor = Float32Tensor | Float16Tensor | BFloat16Tensor

/** A {@link Tensor} of single precision. */
export interface Float32Tensor extends TensorLayout {
  type: 'float32'
  data: Float32Array
  scale?: undefined
}

/** A {@link Tensor} of half precision. */
export interface Float16Tensor extends TensorLayout {
  type: 'float16'
  /** IEEE 754 bits, or a Float16Array where the runtime has it. */
  data: Uint16Array | Float16ArrayLike
  scale?: undefined
}

/** A {@link Tensor} of the upper halves of single precision. */
export interface BFloat16Tensor extends TensorLayout {
  type: 'bfloat16'
  /** Bits. */
  data: Uint16Array
  scale?: undefined
}

/** What of `Float16Array` is needed here, for compilers and runtimes without it. */
export interface Float16ArrayLike extends ArrayBufferView {
  readonly [Symbol.toStringTag]: 'Float16Array'
  readonly length: number
  [index: number]: number
}

/** A {@link Tensor} of quantized numbers. */
export interface Int8Tensor extends TensorLayout {
  type: 'int8'
  data: Int8Array
  /**
   * Real value = scale * integer. Presets of version 1: positive and finite, as many as the quantization scope asks for:
   * tensor 1, head batch * heads, row batch * heads * length, channel batch * heads * headDim. Presets of version 2: one per row
   * (batch * heads * length) or one for all, each 0 or from 2^-74 to below 2^35.
   */
  scale: Float32Array
}

/** Where a {@link KvCache} is kept, and how many threads append to it. */
export interface KvCachePlace {
  /** `native` or `reference`; default as with {@link AttentionOptions.engine}. */
  engine?: EngineName
  /** As with {@link AttentionOptions.isa}. */
  isa?: InstructionSet
  /** Most threads that work on an `append`, 1 … 256. */
  threads?: number
}

/** Options of {@link KvCache}; fixed for its life. Runs over it must have the same. */
export interface KvCacheOptions extends KvCachePlace {
  kvHeads: number
  /** Of keys, 1 … 1024. */
  headDim: number
  /** Of values; default `headDim`. */
  valueDim?: number
  /** Decides the defaults of `keyBits` and `valueBits`. Default `precise`. */
  preset?: (typeof blockPresets)[number]
  /** As with {@link AttentionOptions}. */
  keyBits?: 8 | 7 | 4
  valueBits?: 8 | 4
  /** Default true. */
  rotate?: boolean
  /** Subtracted from every key, [kvHeads, headDim]: the bias of a model's keys, or their mean in a calibration. */
  keyOffset?: Float32Array | readonly number[]
  /** Subtracted from every value and added to outputs, [kvHeads, valueDim]. */
  valueOffset?: Float32Array | readonly number[]
}

/** Rows for a {@link KvCache}. */
export interface CacheInputs {
  /**
   * [1, kvHeads, count, headDim]. int8 rows are kept as they are: their caller has applied the cache's offset and rotation; not with
   * `keyBits: 4`, and within ±63 with 7.
   */
  key: Tensor
  /** [1, kvHeads, count, valueDim]; int8 not with `valueBits: 4` */
  value: Tensor
}

/** Rows of a {@link KvCache}. */
export interface CachedRows {
  /** [kvHeads, count, headDim]; of 4 bits the levels */
  key: Int8Array
  /** [kvHeads, count, valueDim] */
  value: Int8Array
  /** [kvHeads, count] */
  keyScale: Float32Array
  /** [kvHeads, count]: to 15 bits, as attention uses it */
  valueScale: Float32Array
}

/** What a run over caches works on; presets of version 2, engines `native` and `reference`. */
export interface CachedInputs<Output extends FloatTensor = FloatTensor>
  extends Omit<AttentionInputs<Output>, 'key' | 'value' | 'keyLengths'> {
  /**
   * Of one sequence, or of as many as the batch has items. The cache decides `rotate`, `keyBits` and `valueBits`, which those of the
   * attention must equal, and has the offsets. By default the queries are its last positions; mask and bias have as many columns as the
   * longest cache has keys.
   */
  cache: KvCache | readonly KvCache[]
}

/** What a run works on. Options and arrays are read once, when it is called. */
export interface AttentionInputs<Output extends FloatTensor = FloatTensor> {
  /** [batch, heads, queryLength, headDim] */
  query: Tensor
  /** [batch, kvHeads, keyLength, headDim]; presets of version 2: int8 if and only if the query is */
  key: Tensor
  /** [batch, kvHeads, keyLength, valueDim] */
  value: Tensor
  /** Visible keys per batch item (padding follows them), each 0 … keyLength. Default: all. */
  keyLengths?: readonly number[] | Uint32Array
  /**
   * Position of the first query per batch item, each -2^31 … 2^31 - 1; default keyLength - queryLength. A batch padded on the right has
   * 0. May lie before the first or after the last key.
   */
  queryStart?: readonly number[] | Int32Array
  /** [1 or batch, 1 or heads, 1 or queryLength, keyLength]; columns from keyLengths[b] on are not read. */
  mask?: BoolTensor
  /**
   * Added to the logits, dims as the mask's. -infinity hides a key, and so does any value whose product with 1024 · log2 e is
   * -infinity in float32; from 2^100 on, and NaN: error, also where something else hides the key. Not with pipeline `int` and presets of
   * version 1, whose table index has no place for it.
   */
  bias?: FloatTensor
  /**
   * Where to write; dims [batch, heads, queryLength, valueDim], floats of any type. Results are rounded to it from float32, to nearest,
   * ties to even; what it cannot hold is an error: float16 magnitudes from 65520, bfloat16's from 1.99609375 · 2^127. Shares no element with an
   * input; strides leave what is between the rows alone. Default: a new float32 tensor.
   */
  output?: Output
  /** Also return what happened inside: costs L x L memory. Pipelines `int8` and `int`. Default false. */
  intermediates?: boolean
  /** Also return the logarithm of the sum of the exponentials of each row's logits. Presets of version 2. Default false. */
  logSumExp?: boolean
}

/**
 * Milliseconds, measured inside C++; stage times are averaged over threads. What is missing to `total` is waiting. Engine `acl` packs
 * K and V as parts of `scores` and `values`; its stages follow one another. The reference engine measures only the total.
 */
export interface StageTimes {
  total: number
  /** Convert, quantize and pack Q, K and V. */
  prepare: number
  /** Q·Kᵀ */
  scores: number
  softmax: number
  /** P·V */
  values: number
  /** Scale and store the output. */
  output: number
}

/** What happened inside a run; `version` tells which. */
export type Intermediates = IndexIntermediates | BlockIntermediates

/** The integers inside a run of version 1, named as in the numeric specification. */
export interface IndexIntermediates {
  version: 1
  queryInt8: Int8Array
  keyInt8: Int8Array
  valueInt8: Int8Array
  queryScale: Float32Array
  keyScale: Float32Array
  valueScale: Float32Array
  /** [batch, kvHeads, valueDim]; zeros without `centerValue`. */
  valueCenter: Float32Array
  /** [batch, heads, queryLength, keyLength]; 0 for keys beyond `keyLengths`, real scores where the causal mask hides them. */
  scores: Int32Array
  /** Same shape; P with `integer` normalization, the plane h when `deferred`. Pipeline `int` only, as all below. */
  probabilities?: Uint8Array
  /** [batch, heads, queryLength] */
  rowSum?: Uint32Array
  lost?: Int32Array
}

/**
 * The integers inside a run of version 2, named as in the numeric specification. Rows are [batch, heads, queryLength], keys
 * [batch, kvHeads, keyLength], blocks ceil(keyLength / 64). What lies beyond `keyLengths` is as if nobody saw it.
 */
export interface BlockIntermediates {
  version: 2
  /** [rows, headDim]; 15 bits in an Int16Array */
  queryInt: Int8Array | Int16Array
  /** [keys, headDim]; of 4 bits the levels. Of a key with NaN as its scale, and of its scores, nothing is meant. */
  keyInt8: Int8Array
  /** [keys, valueDim] */
  valueInt8: Int8Array
  /** [rows] */
  queryScale: Float32Array
  /** [keys]; NaN: such a key must not be seen */
  keyScale: Float32Array
  /** [keys], likewise */
  valueScale: Float32Array
  /** [batch, kvHeads, headDim]: what was subtracted before quantizing */
  keyOffset: Float32Array
  /** [batch, kvHeads, valueDim] */
  valueOffset: Float32Array
  /** [rows]: what one unit of score times key scale is worth in 1/1024 octave */
  unit: Float32Array
  /** [rows, keyLength]; real scores where a mask hides them, 0 beyond `keyLengths` */
  scores: Int32Array
  /** [rows, keyLength]: below the row's maximum, in 1/1024 octave; 65535 where not visible, as for 64 octaves and more */
  distance: Uint16Array
  /** [rows, keyLength]: w */
  weight: Uint16Array
  /** [rows, keyLength]: U, the weight times the mantissa of the value's scale */
  folded: Uint16Array
  /** [rows, keyLength]: h */
  plane: Uint16Array
  /** [rows, blocks]: E, -1 for a dead block */
  blockExponent: Int8Array
  /** [rows, blocks] */
  blockSum: Uint32Array
  /** [rows, blocks]: Z, -128 where no visible key has a scale above 0, and for a dead block */
  valueExponent: Int8Array
  /** [rows, blocks]: t */
  shift: Uint8Array
  /** [rows], in units of 2^-31 */
  rowSum: BigUint64Array
}

/** What a run gives. */
export interface AttentionResult<Output extends FloatTensor = Float32Tensor> {
  /** The tensor that was supplied, else a new one of float32. */
  output: Output
  stages: StageTimes
  intermediates?: Intermediates
  /**
   * [batch, heads, queryLength], natural logarithms, sinks included; -infinity for rows that see no key. Of the logits less
   * query · keyOffset or query · mean, where something was subtracted from the keys.
   */
  logSumExp?: Float32Array
}

/** One engine and what it can do here: "compiled in" and "can run here" are different facts. */
export interface EngineInfo {
  name: EngineName
  available: boolean
  /** Why it cannot run here. */
  reason?: string
  /** Where its addon comes from. */
  place?: AddonPlace
  /** What compiled the native engine: `clang 19.1.7`, `gcc 12.2.0`. */
  compiler?: string
  /** Of the native engine, from the most portable to the fastest. */
  instructionSets: InstructionSetInfo[]
  /** Engine `acl`, where it was built. */
  library?: LibraryInfo
}

/** Where addons are looked for: the folder that the variable names, and nowhere else; else what was built here; else what was installed. */
export type AddonPlace = 'INTATTN_ADDONS' | 'local build' | 'platform package'

/** The ComputeLibrary in engine `acl`. */
export interface LibraryInfo {
  version: string
  /** What it was built for: `linux-arm64`, `darwin-arm64`. */
  target: string
  /** Likewise: `armv8.6-a`, `apple-m2`, … */
  cpu: string
  /** What compiled it: `zig 0.17.1`. */
  compiler: string
  /** CPU features that its code uses without asking, as Linux names them. */
  requires: readonly string[]
  /** Its source is not one that `third_party/upstream.lock.json` names: nothing vouches for it. */
  unlocked?: true
}

/** One instruction set of the native engine and whether it can run here. */
export interface InstructionSetInfo {
  name: InstructionSet
  compiled: boolean
  available: boolean
  /** CPU features it needs. */
  requires: string
  /** Why it cannot run here. */
  reason?: string
}
