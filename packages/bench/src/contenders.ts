import {
  Attention,
  type AttentionInputs,
  type AttentionOptions,
  bfloat16Bits,
  blockPresets,
  type EngineName,
  float16Bits,
  type InstructionSet,
  KvCache,
  type KvCacheOptions,
  type Pipeline,
  type Preset,
  quantize,
  type Tensor,
} from '@intattn/acl'
import type { Layout, Options } from './cli.js'
import { type Input, visibleKeys } from './input.js'
import type { Contender, Turn } from './measure.js'

/** One pipeline of ours, as the flags ask for it. */
export interface Variant {
  pipeline: Pipeline
  /** null for the float pipelines, which have none. */
  preset: Preset | null
  threads: number
  /** Where keys and values lie: `pages` with presets of version 2 only. */
  layout: Layout
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
  /** Of the cache; null without one. */
  readonly cacheBytes: number | null
  /** What of keys and values a call reads at least. */
  readonly readBytes: number
  dispose(): void
}

/** What an engine is asked for; with neither `engine` nor `isa`, the library chooses. */
export interface Choice extends Pick<Variant, 'engine' | 'isa'> {
  /** What the engine computes in pipeline `int` when it is not told. */
  defaultPreset: Preset
}

/**
 * The rows of a table: each pipeline of each engine for each number of threads. Without a preset, `int8` and `int` run as
 * in the paper, and `int` a second time with the engine's default, or over a cache with each preset of version 2; `int8` as in the paper
 * too with presets that only `int` has.
 */
export function variants(
  pipelines: readonly Pipeline[],
  threads: readonly number[],
  choices: readonly Choice[],
  preset?: Preset,
  layouts: readonly Layout[] = ['whole'],
): Variant[] {
  const isOfInt = (blockPresets as readonly (Preset | undefined)[]).includes(preset)
  const presetsOf = (pipeline: Pipeline, byDefault: Preset): (Preset | null)[] => {
    if (pipeline === 'fp32' || pipeline === 'fp16') return [null]
    if (pipeline === 'int8') return [preset && !isOfInt ? preset : 'paper']
    return preset ? [preset] : ['paper', byDefault]
  }
  const placed = (pipeline: Pipeline, byDefault: Preset): Pick<Variant, 'preset' | 'layout'>[] => {
    const pages = pipeline === 'int' && layouts.includes('pages')
    return [
      ...(pages && !layouts.includes('whole') ? [] : presetsOf(pipeline, byDefault)).map(
        (chosen) => ({ preset: chosen, layout: 'whole' }) as const,
      ),
      ...(pages ? (preset ? [preset] : blockPresets) : []).map(
        (chosen) => ({ preset: chosen, layout: 'pages' }) as const,
      ),
    ]
  }
  return threads.flatMap((count) =>
    choices.flatMap(({ defaultPreset, ...choice }) =>
      pipelines.flatMap((pipeline) =>
        placed(pipeline, defaultPreset).map((chosen) => ({ ...choice, pipeline, ...chosen, threads: count })),
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

const bytesOf: Readonly<Record<Options['inputType'], number>> = { float32: 4, float16: 2, bfloat16: 2, int8: 1 }

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

/** One cache for each batch item, with all keys and values in it. */
function cachesOf({ key, value }: ReturnType<typeof tensorsOf>, options: KvCacheOptions): KvCache[] {
  const [batch] = key.dims as [number]
  const item = (tensor: Tensor, index: number): Tensor => {
    const size = tensor.data.length / batch
    const data = (tensor.data as Float32Array).subarray(index * size, (index + 1) * size)
    return { ...tensor, dims: [1, ...tensor.dims.slice(1)], data } as Tensor
  }
  return Array.from({ length: batch }, (_, index) => {
    const cache = new KvCache(options)
    cache.append({ key: item(key, index), value: item(value, index) })
    return cache
  })
}

/**
 * Makes a variant ready to run.
 *
 * @param type of query, key and value; conversion happens here, not in a turn
 * @param output where every turn writes, float32
 * @throws IntAttnError
 */
export function openContender(
  variant: Variant,
  input: Input,
  type: Options['inputType'],
  output: Float32Array,
): OwnContender {
  const { pipeline, preset, threads, layout, engine, isa } = variant
  const { batch, heads, kvHeads, queryLength, keyLength, headDim, causal, window, softmaxScale } = input
  const options: AttentionOptions = { pipeline, heads, kvHeads, headDim, causal, softmaxScale, threads }
  const choice = { ...(preset && { preset }), ...(engine && { engine }), ...(isa && { isa }) }
  const attention = new Attention({ ...options, ...choice, ...(window && { window }) })
  const float32 = tensorsOf(input)
  const tensors = {
    float32: () => float32,
    float16: () => toHalves(float32, 'float16'),
    bfloat16: () => toHalves(float32, 'bfloat16'),
    int8: () => toInt8(float32, attention),
  }[type]()
  const target = { output: { type: 'float32' as const, dims: float32.query.dims, data: output } }
  const caches =
    layout === 'pages' ? cachesOf(tensors, { kvHeads, headDim, threads, ...choice } as KvCacheOptions) : undefined
  const inputs = caches ? { query: tensors.query, cache: caches, ...target } : { ...tensors, ...target }
  const cacheBytes = caches?.reduce((sum, { bytes }) => sum + bytes, 0) ?? null
  const wholeBytes = cacheBytes ?? 2 * batch * kvHeads * keyLength * headDim * bytesOf[type]
  const seen = queryLength === 1 ? visibleKeys(input, 0) : keyLength
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
    cacheBytes,
    readBytes: wholeBytes * (seen / keyLength),
    dispose() {
      attention.dispose()
      for (const cache of caches ?? []) cache.dispose()
    },
  }
}
