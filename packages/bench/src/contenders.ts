import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  bfloat16Bits,
  blockPresets,
  type EngineName,
  float16Bits,
  type InstructionSet,
  type Pipeline,
  type Preset,
  quantize,
  type Tensor,
  type TensorType,
} from '@intattn/acl'
import type { Input } from './input.js'
import type { Contender, Turn } from './measure.js'

/** One pipeline of ours, as the flags ask for it. */
export interface Variant {
  pipeline: Pipeline
  /** null for the float pipelines, which have none. */
  preset: Preset | null
  threads: number
  engine?: EngineName
  isa?: InstructionSet
}

/** A variant at work on one input. */
export interface OwnContender extends Contender {
  readonly engine: EngineName
  /** null for the reference engine. */
  readonly isa: InstructionSet | null
  /** What the last turn wrote, [batch, heads, queryLength, headDim]. */
  output(): Float32Array
  /** Working memory held between runs. */
  readonly memoryBytes: number
  dispose(): void
}

/** What an engine is asked for; with neither `engine` nor `isa`, the library chooses. */
export interface Choice extends Pick<Variant, 'engine' | 'isa'> {
  /** What the engine computes in pipeline `int` when it is not told. */
  defaultPreset: Preset
}

/**
 * The rows of a table: each pipeline of each engine for each number of threads. Without a preset, `int8` and `int` run as
 * in the paper, and `int` a second time with the engine's default; `int8` as in the paper too with presets that only `int` has.
 */
export function variants(
  pipelines: readonly Pipeline[],
  threads: readonly number[],
  choices: readonly Choice[],
  preset?: Preset,
): Variant[] {
  const isOfInt = (blockPresets as readonly (Preset | undefined)[]).includes(preset)
  const presetsOf = (pipeline: Pipeline, byDefault: Preset): (Preset | null)[] => {
    if (pipeline === 'fp32' || pipeline === 'fp16') return [null]
    if (pipeline === 'int8') return [preset && !isOfInt ? preset : 'paper']
    return preset ? [preset] : ['paper', byDefault]
  }
  return threads.flatMap((count) =>
    choices.flatMap(({ defaultPreset, ...choice }) =>
      pipelines.flatMap((pipeline) =>
        presetsOf(pipeline, defaultPreset).map((chosen) => ({ ...choice, pipeline, preset: chosen, threads: count })),
      ),
    ),
  )
}

function tensorsOf(input: Input): Pick<AttentionInputs, 'query' | 'key' | 'value'> {
  const { batch, heads, kvHeads, queryLength, keyLength, headDim } = input
  const keyDims = [batch, kvHeads, keyLength, headDim]
  return {
    query: { type: 'float32', dims: [batch, heads, queryLength, headDim], data: input.query },
    key: { type: 'float32', dims: keyDims, data: input.key },
    value: { type: 'float32', dims: keyDims, data: input.value },
  }
}

function toHalves({ query, key, value }: ReturnType<typeof tensorsOf>, type: 'float16' | 'bfloat16') {
  const bits = type === 'float16' ? float16Bits : bfloat16Bits
  const convert = ({ dims, data }: Tensor): Tensor => ({
    type,
    dims,
    data: Uint16Array.from(data as Float32Array, bits),
  })
  return { query: convert(query), key: convert(key), value: convert(value) }
}

/** Of version 2. */
const byRow = { query: 'row', key: 'row', value: 'row' } as const

/**
 * Quantizes as the attention itself would, but for `centerValue`, which would have to be undone in the output, and in version 2 for the
 * rotation.
 */
function toInt8({ query, key, value }: ReturnType<typeof tensorsOf>, { engine, isa, options }: Attention) {
  const { quantization, smoothKey = false } = options.version === 2 ? { quantization: byRow } : options
  // Quantizing is the native engine's also where ComputeLibrary computes.
  const quantizer = engine === 'acl' ? 'native' : engine
  if (!quantization) throw new TypeError(`pipeline ${options.pipeline} takes no int8`)
  const convert = (values: Tensor, scope: 'tensor' | 'head' | 'row' | 'channel', center: boolean): Tensor => {
    const { quantized, scale } = quantize({ values, scope, center, engine: quantizer, ...(isa && { isa }) })
    return { type: 'int8', dims: values.dims, data: quantized, scale }
  }
  return {
    query: convert(query, quantization.query, false),
    key: convert(key, quantization.key, smoothKey),
    value: convert(value, quantization.value, false),
  }
}

/**
 * Makes a variant ready to run.
 *
 * @param type of query, key and value; conversion happens here, not in a turn
 * @param output where every turn writes, float32
 * @throws IntAttnError
 */
export function openContender(variant: Variant, input: Input, type: TensorType, output: Float32Array): OwnContender {
  const { pipeline, preset, threads, engine, isa } = variant
  const { heads, kvHeads, headDim, causal, softmaxScale } = input
  const options: AttentionOptions = { pipeline, heads, kvHeads, headDim, causal, softmaxScale, threads }
  const attention = new Attention({
    ...options,
    ...(preset && { preset }),
    ...(engine && { engine }),
    ...(isa && { isa }),
  })
  const float32 = tensorsOf(input)
  const tensors = {
    float32: () => float32,
    float16: () => toHalves(float32, 'float16'),
    bfloat16: () => toHalves(float32, 'bfloat16'),
    int8: () => toInt8(float32, attention),
  }[type]()
  const inputs = { ...tensors, output: { type: 'float32' as const, dims: float32.query.dims, data: output } }
  return {
    engine: attention.engine,
    isa: attention.isa ?? null,
    get memoryBytes() {
      return attention.memoryBytes
    },
    run(): Turn {
      const begin = process.hrtime.bigint()
      const { stages } = attention.runSync(inputs)
      const ms = Number(process.hrtime.bigint() - begin) / 1e6
      return { ms: stages.total, stages, callOverheadMs: ms - stages.total }
    },
    output: () => output,
    dispose: () => attention.dispose(),
  }
}
