import { callAddon } from '../addons/call.js'
import {
  type NativeAttention,
  type NativeOptions,
  type NativeRun,
  normalizationCode,
  type Outcome,
  scopeCode,
  status,
  tableCode,
} from '../addons/interface.js'
import { failWith } from '../checks/checks.js'
import { firstLine } from '../checks/describe.js'
import {
  allAtOnce,
  finiteInSteps,
  firstBeyond,
  oneByOne,
  outputOverflows,
  type Steps,
  tooWide,
} from '../checks/non-finite.js'
import type { CheckedTensor } from '../checks/tensors.js'
import type { Engine } from '../engines.js'
import { isIndex, isQuantized, type ResolvedOptions } from '../options/options.js'
import { requireBias } from '../reference/addends.js'
import { channelMeans } from '../reference/quantize.js'
import { pipelines, type StageTimes } from '../types.js'
import { float32List, nativeMasks } from './native-masks.js'
import { overlapping, type Problem } from './problem.js'
import type { Session } from './session.js'

type AddonEngine = Exclude<Engine, { name: 'reference' }>

/** An engine in C++. */
export class NativeSession implements Session {
  readonly #engine: AddonEngine['name']
  readonly #options: ResolvedOptions
  readonly #attention: NativeAttention

  constructor(engine: AddonEngine, options: ResolvedOptions) {
    const { name, addon } = engine
    this.#engine = name
    this.#options = options
    this.#attention = callAddon('options', () => {
      const isa = engine.name === 'native' ? engine.isa : addon.bestInstructionSet()
      return new addon.Attention({ ...nativeOptions(options), isa })
    })
  }

  get memoryBytes(): number {
    return this.#attention.memoryBytes()
  }

  async run(problem: Problem): Promise<StageTimes> {
    const times = new Float64Array(6)
    const outcome = await callAddon('inputs', () => this.#attention.run(...positional(problem, times)))
    if (outcome !== status.ok) await oneByOne(this.#explain(outcome, problem))
    return stages(times)
  }

  runSync(problem: Problem): StageTimes {
    const times = new Float64Array(6)
    const outcome = callAddon('inputs', () => this.#attention.runSync(...positional(problem, times)))
    if (outcome !== status.ok) allAtOnce(this.#explain(outcome, problem))
    return stages(times)
  }

  dispose(): void {
    this.#attention.dispose()
  }

  /** Throws what a status stands for. The kernels only name a tensor; what is wrong with it is searched for here. */
  *#explain(outcome: Outcome, problem: Problem): Steps<never> {
    const { query, key, value, keyLengths, output } = problem
    const { pipeline, centerValue = false } = this.#options
    const isAcl = this.#engine === 'acl'
    if (typeof outcome === 'string') {
      failWith('ENGINE_FAILED', 'inputs', 'a problem that ComputeLibrary takes', firstLine(outcome))
    }
    if (outcome === status.outOfMemory) {
      const expected = isAcl
        ? 'memory for scores and probabilities, queryLength * heads / kvHeads rows of keyLength each'
        : 'memory for the packed keys and values and the score strips'
      failWith('OUT_OF_MEMORY', 'inputs', expected, 'less')
    }
    const tensors = [query, key, value]
    if (outcome >= status.overlapsQuery) overlapping(tensors[outcome - status.overlapsQuery]!.argument)
    if (outcome === status.nonFiniteBias) requireBias(problem)
    const bad = tensors[outcome - status.nonFiniteQuery]!
    yield* finiteInSteps(bad, pipeline, bad === query ? undefined : keyLengths)
    if (bad === query) {
      const type = isAcl && pipeline === 'fp16' ? 'float16' : 'float32'
      failWith('NON_FINITE', 'query', `magnitudes whose products stay finite in ${type}`, 'larger ones')
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

function nativeOptions(options: ResolvedOptions): Omit<NativeOptions, 'isa'> {
  const { pipeline, heads, kvHeads, headDim, valueDim, causal, softmaxScale, threads } = options
  const { window = 0, keepFirst, alibiSlopes, sinks } = options
  const quantized = isQuantized(options)
  const index = isIndex(options)
  return {
    pipeline: pipelines.indexOf(pipeline),
    heads,
    kvHeads,
    headDim,
    valueDim,
    causal,
    window,
    keepFirst,
    alibiSlopes: float32List(alibiSlopes),
    sinks: float32List(sinks),
    softmaxScale,
    threads,
    queryScope: scopeCode(quantized ? options.quantization.query : 'tensor'),
    keyScope: scopeCode(quantized ? options.quantization.key : 'tensor'),
    valueScope: scopeCode(quantized ? options.quantization.value : 'tensor'),
    smoothKey: quantized && options.smoothKey,
    centerValue: quantized && options.centerValue,
    ...tableCode(index ? options : { table: 'exp2' }),
    normalization: normalizationCode(index ? options.normalization : 'deferred'),
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
    nativeMasks(problem),
    times,
  ]
}

/** Times as C++ stores them. */
export function stages(times: Float64Array): StageTimes {
  const [total = 0, prepare = 0, scores = 0, softmax = 0, values = 0, output = 0] = times
  return { total, prepare, scores, softmax, values, output }
}
