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
export const instructionSets = ['scalar', 'avx2', 'avx512vnni', 'neon-dotprod', 'neon-i8mm'] as const

export type InstructionSet = (typeof instructionSets)[number]

/** Bases of the exponential table: e, clipped, or powers of two in 240 steps. */
export type Table = 'natural' | 'exp2'
/** Normalized uint8 probabilities, or table entries with one division per output row. */
export type Normalization = 'integer' | 'deferred'
/** Sets of defaults: as accurate as this package knows how, or as published. */
export type Preset = 'precise' | 'paper'

/** Which values of a tensor share one scale. */
export interface Quantization {
  /** Default `row` (`precise`) or `tensor` (`paper`). */
  query: 'tensor' | 'head' | 'row'
  /** Default `head` or `tensor`. Never per row: one softmax row must share one scale. */
  key: 'tensor' | 'head'
  /** Default `channel` or `tensor`. */
  value: 'tensor' | 'head' | 'channel'
}

/** Parameters of IndexSoftmax's exponential table. */
export interface TableOptions {
  /** Default `exp2` (`precise`) or `natural` (`paper`). */
  table?: Table
  /** `natural` only: logits this far below the row maximum weigh nothing. Positive; default 6.6. */
  clip?: number
  /** `natural` only: the table has 2^lutBits entries. Default 5. */
  lutBits?: 4 | 5 | 6
}

/** Options of {@link Attention}; fixed for its life. */
export interface AttentionOptions extends TableOptions {
  /**
   * Default `int`. With `fp32`, the native engine rejects scores that overflow float32; engine `acl` stores scores before
   * `softmaxScale` and rejects those that overflow float32, or float16 with `fp16`.
   */
  pipeline?: Pipeline
  heads: number
  /** Divides `heads`; default `heads`. Fewer is grouped-query, 1 is multi-query attention. */
  kvHeads?: number
  /** 1 … 1024 */
  headDim: number
  /** Query i sees keys j <= i + keyLength - queryLength. Default false. */
  causal?: boolean
  /** Factor of Q·K before the exponential. Positive; default 1 / sqrt(headDim). */
  softmaxScale?: number
  /** Defaults of the options below; default `precise`. Only the `int8` and `int` pipelines have any. */
  preset?: Preset
  quantization?: Partial<Quantization>
  normalization?: Normalization
  /** Subtract K's mean per channel before quantizing: the softmax does not change, its error shrinks. */
  smoothKey?: boolean
  /** Subtract V's mean per channel before quantizing and add it back to the output. */
  centerValue?: boolean
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
export type TensorType = 'float32' | 'float16' | 'int8'

/**
 * A dense row-major tensor, in onnxruntime-common's vocabulary; `type` tells the class of `data`, which may be a view at any offset of a
 * larger buffer, shared or not, and must hold exactly the product of `dims`. It is used in place, except that an asynchronous run
 * copies arrays on resizable buffers.
 */
export type Tensor = FloatTensor | Int8Tensor

/** A {@link Tensor} of floating-point numbers. */
export type FloatTensor = Float32Tensor | Float16Tensor

/** A {@link Tensor} of single precision. */
export interface Float32Tensor {
  type: 'float32'
  dims: readonly number[]
  data: Float32Array
  scale?: undefined
}

/** A {@link Tensor} of half precision. */
export interface Float16Tensor {
  type: 'float16'
  dims: readonly number[]
  /** IEEE 754 bits, or a Float16Array where the runtime has it. */
  data: Uint16Array | Float16ArrayLike
  scale?: undefined
}

/** What of `Float16Array` is needed here, for compilers and runtimes without it. */
export interface Float16ArrayLike extends ArrayBufferView {
  readonly [Symbol.toStringTag]: 'Float16Array'
  readonly length: number
  [index: number]: number
}

/** A {@link Tensor} of quantized numbers. */
export interface Int8Tensor {
  type: 'int8'
  dims: readonly number[]
  data: Int8Array
  /**
   * Real value = scale * integer, positive and finite, as many as the quantization scope asks for:
   * tensor 1, head batch * heads, row batch * heads * length, channel batch * heads * headDim.
   */
  scale: Float32Array
}

/** What a run works on. Options and arrays are read once, when it is called. */
export interface AttentionInputs<Output extends FloatTensor = FloatTensor> {
  /** [batch, heads, queryLength, headDim] */
  query: Tensor
  /** [batch, kvHeads, keyLength, headDim] */
  key: Tensor
  /** [batch, kvHeads, keyLength, headDim] */
  value: Tensor
  /** Visible keys per batch item (padding follows them), each 0 … keyLength. Default: all. */
  keyLengths?: readonly number[] | Uint32Array
  /**
   * Where to write; same dims as query, float32 or float16 (magnitudes from 65520, which it cannot hold, are errors); shares no memory
   * with an input. Default: a new float32 tensor.
   */
  output?: Output
  /** Also return what happened inside: costs L x L memory. Pipelines `int8` and `int`. Default false. */
  intermediates?: boolean
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

/** The integers inside a run, named as in the numeric specification. */
export interface Intermediates {
  queryInt8: Int8Array
  keyInt8: Int8Array
  valueInt8: Int8Array
  queryScale: Float32Array
  keyScale: Float32Array
  valueScale: Float32Array
  /** [batch, kvHeads, headDim]; zeros without `centerValue`. */
  valueCenter: Float32Array
  /** [batch, heads, queryLength, keyLength]; 0 for keys beyond `keyLengths`, real scores where the causal mask hides them. */
  scores: Int32Array
  /** Same shape; P with `integer` normalization, the plane h when `deferred`. Pipeline `int` only, as all below. */
  probabilities?: Uint8Array
  /** [batch, heads, queryLength] */
  rowSum?: Uint32Array
  lost?: Int32Array
}

/** What a run gives. */
export interface AttentionResult<Output extends FloatTensor = Float32Tensor> {
  /** The tensor that was supplied, else a new one of float32. */
  output: Output
  stages: StageTimes
  intermediates?: Intermediates
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
