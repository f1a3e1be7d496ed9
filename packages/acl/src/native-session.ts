import { failWith } from './checks.js'
import { IntAttnError } from './errors.js'
import { type Addon, type NativeAttention, type NativeRun, status } from './native.js'
import { normalizationCode, scopeCode, tableCode } from './native-codes.js'
import { rejectNonFinite } from './non-finite.js'
import { isInteger, isQuantized, type ResolvedOptions } from './options.js'
import { overlapping, type Problem } from './problem.js'
import type { Session } from './session.js'
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
    this.#require(await this.#attention.run(...positional(problem, times)), problem)
    return stages(times)
  }

  runSync(problem: Problem): StageTimes {
    const times = new Float64Array(6)
    this.#require(this.#attention.runSync(...positional(problem, times)), problem)
    return stages(times)
  }

  dispose(): void {
    this.#attention.dispose()
  }

  #require(outcome: number, { query, key, value, keyLengths }: Problem): void {
    if (outcome === status.ok) return
    if (outcome === status.outOfMemory) {
      const expected = 'memory for the packed keys and values and the score strips'
      failWith('OUT_OF_MEMORY', 'inputs', expected, 'less')
    }
    const tensors = [query, key, value]
    if (outcome >= status.overlapsQuery) overlapping(tensors[outcome - status.overlapsQuery]!.argument)
    const bad = tensors[outcome - status.nonFiniteQuery]!
    rejectNonFinite(bad, this.#options.pipeline, bad === query ? undefined : keyLengths)
  }
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
