import { failWith } from './checks.js'
import { IntAttnError } from './errors.js'
import {
  type Addon,
  callAddon,
  type NativeAttention,
  type NativeRun,
  normalizationCode,
  scopeCode,
  status,
  tableCode,
} from './native.js'
import { allAtOnce, finiteInSteps, firstBeyond, oneByOne, outputOverflows, type Steps, tooWide } from './non-finite.js'
import { isInteger, isQuantized, type ResolvedOptions } from './options.js'
import { overlapping, type Problem } from './problem.js'
import { channelMeans } from './reference/quantize.js'
import type { Session } from './session.js'
import type { CheckedTensor } from './tensors.js'
import { type InstructionSet, pipelines, type StageTimes } from './types.js'

/** The C++ kernels. */
export class NativeSession implements Session {
  readonly #options: ResolvedOptions
  readonly #attention: NativeAttention

  constructor(addon: Addon, isa: InstructionSet, options: ResolvedOptions) {
    this.#options = options
    try {
      this.#attention = new addon.Attention({ ...nativeOptions(options), isa })
    } catch (cause) {
      const expected = `memory for ${options.threads} threads to start`
      throw new IntAttnError(
        { code: 'OUT_OF_MEMORY', argument: 'threads', expected, received: String(cause) },
        { cause },
      )
    }
  }

  get memoryBytes(): number {
    return this.#attention.memoryBytes()
  }

  async run(problem: Problem): Promise<StageTimes> {
    const times = new Float64Array(6)
    const outcome = await callAddon(() => this.#attention.run(...positional(problem, times)))
    if (outcome !== status.ok) await oneByOne(this.#explain(outcome, problem))
    return stages(times)
  }

  runSync(problem: Problem): StageTimes {
    const times = new Float64Array(6)
    const outcome = callAddon(() => this.#attention.runSync(...positional(problem, times)))
    if (outcome !== status.ok) allAtOnce(this.#explain(outcome, problem))
    return stages(times)
  }

  dispose(): void {
    this.#attention.dispose()
  }

  /** Throws what a status stands for. The kernels only name a tensor; what is wrong with it is searched for here. */
  *#explain(outcome: number, { query, key, value, keyLengths, output }: Problem): Steps<never> {
    if (outcome === status.outOfMemory) {
      const expected = 'memory for the packed keys and values and the score strips'
      failWith('OUT_OF_MEMORY', 'inputs', expected, 'less')
    }
    const tensors = [query, key, value]
    if (outcome >= status.overlapsQuery) overlapping(tensors[outcome - status.overlapsQuery]!.argument)
    const bad = tensors[outcome - status.nonFiniteQuery]!
    const { pipeline, centerValue = false } = this.#options
    yield* finiteInSteps(bad, pipeline, bad === query ? undefined : keyLengths)
    if (bad === query) {
      failWith('NON_FINITE', 'query', 'magnitudes whose products stay finite in float32', 'larger ones')
    }
    if (bad === key || (centerValue && (yield* isTooWide(value, keyLengths)))) tooWide(bad.argument)
    return outputOverflows(output.type)
  }
}

/** Whether subtracting the mean of a channel overflows somewhere; the values are finite. */
function* isTooWide(tensor: CheckedTensor, lengths: Uint32Array | undefined): Steps<boolean> {
  const { data, dims } = tensor
  // Twice a lesser magnitude is a finite float32.
  if (!(data instanceof Float32Array) || (yield* firstBeyond(tensor, 2 ** 127, lengths)) < 0) return false
  const mean = channelMeans(data, dims, lengths)
  const [batch, heads, length, headDim] = dims
  for (let head = 0; head < batch * heads; head++) {
    const present = lengths ? lengths[Math.floor(head / heads)]! : length
    for (let i = 0; i < present * headDim; i++) {
      const distance = data[head * length * headDim + i]! - mean[head * headDim + (i % headDim)]!
      if (!Number.isFinite(Math.fround(distance))) return true
    }
    yield
  }
  return false
}

function nativeOptions(options: ResolvedOptions): Omit<ConstructorParameters<Addon['Attention']>[0], 'isa'> {
  const { pipeline, heads, kvHeads, headDim, causal, softmaxScale, threads } = options
  const quantized = isQuantized(options)
  const integer = isInteger(options)
  return {
    pipeline: pipelines.indexOf(pipeline),
    heads,
    kvHeads,
    headDim,
    causal,
    softmaxScale,
    threads,
    queryScope: scopeCode(quantized ? options.quantization.query : 'tensor'),
    keyScope: scopeCode(quantized ? options.quantization.key : 'tensor'),
    valueScope: scopeCode(quantized ? options.quantization.value : 'tensor'),
    smoothKey: quantized && options.smoothKey,
    centerValue: quantized && options.centerValue,
    ...tableCode(integer ? options : { table: 'exp2' }),
    normalization: normalizationCode(integer ? options.normalization : 'deferred'),
  }
}

function positional(problem: Problem, times: Float64Array): Parameters<NativeRun<unknown>> {
  const { batch, queryLength, keyLength, query, key, value, keyLengths, output, intermediates } = problem
  return [
    batch,
    queryLength,
    keyLength,
    query.data,
    query.scale,
    key.data,
    key.scale,
    value.data,
    value.scale,
    keyLengths,
    output.data,
    intermediates,
    times,
  ]
}

function stages(times: Float64Array): StageTimes {
  const [total = 0, prepare = 0, scores = 0, softmax = 0, values = 0, output = 0] = times
  return { total, prepare, scores, softmax, values, output }
}
