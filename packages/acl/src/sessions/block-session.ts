import { callAddon } from '../addons/call.js'
import {
  type Addon,
  elementTypeCode,
  type NativeAttention,
  type NativeBlockCall,
  type NativeBlockIntermediates,
  type NativeBlockOptions,
  type NativeCachedCall,
  type Outcome,
  status,
} from '../addons/interface.js'
import type { CacheState } from '../cache/cache-state.js'
import type { NativeStore } from '../cache/native-store.js'
import { failWith } from '../checks/checks.js'
import { isPlain } from '../checks/dense.js'
import { firstLine } from '../checks/describe.js'
import { allAtOnce, oneByOne, outputOverflows, type Steps } from '../checks/non-finite.js'
import type { CheckedTensor } from '../checks/tensors.js'
import type { BlockOptions } from '../options/block-options.js'
import { requireBias } from '../reference/addends.js'
import { blockAttention } from '../reference/version-2/attention.js'
import { explainUnusable } from '../reference/version-2/explain.js'
import type { BlockIntermediates, InstructionSet, StageTimes } from '../types.js'
import { absent, allocateBlockIntermediates } from './intermediates.js'
import { float32List, nativeMasks, nativeStrides } from './native-masks.js'
import { stages } from './native-session.js'
import { overlapping, type Problem, withCopies } from './problem.js'
import type { Session } from './session.js'

/** Version 2 of the numerics on the native engine. */
export class BlockSession implements Session {
  readonly #options: BlockOptions
  readonly #attention: NativeAttention

  constructor({ addon, isa }: { addon: Addon; isa: InstructionSet }, options: BlockOptions) {
    this.#options = options
    this.#attention = callAddon('options', () => new addon.Attention(nativeOptions(options, isa)))
  }

  get memoryBytes(): number {
    return this.#attention.memoryBytes()
  }

  async run(problem: Problem): Promise<StageTimes> {
    const call = nativeCall(problem)
    const outcome = await callAddon('inputs', () => this.#attention.run(call))
    if (outcome !== status.ok) await oneByOne(this.#explain(outcome, problem))
    return this.#finish(problem, call)
  }

  runSync(problem: Problem): StageTimes {
    const call = nativeCall(problem)
    const outcome = callAddon('inputs', () => this.#attention.runSync(call))
    if (outcome !== status.ok) allAtOnce(this.#explain(outcome, problem))
    return this.#finish(problem, call)
  }

  dispose(): void {
    this.#attention.dispose()
  }

  #finish(problem: Problem, { intermediates, times }: NativeBlockCall | NativeCachedCall): StageTimes {
    if (intermediates && problem.intermediates?.version === 2) {
      report(intermediates, problem.intermediates)
      deriveOthers(this.#options, problem, problem.intermediates)
    }
    return stages(times)
  }

  /** Throws what a status stands for. The kernels only name a tensor; what is wrong with it is searched for here. */
  *#explain(outcome: Outcome, problem: Problem): Steps<never> {
    if (typeof outcome === 'string')
      failWith('ENGINE_FAILED', 'inputs', 'a problem that the kernels take', firstLine(outcome))
    if (outcome === status.outOfMemory) {
      failWith('OUT_OF_MEMORY', 'inputs', 'memory for packed keys and values and for the scores of some rows', 'less')
    }
    if (outcome >= status.overlapsQuery) overlapping(['query', 'key', 'value'][outcome - status.overlapsQuery]!)
    if (outcome === status.nonFiniteBias) requireBias(problem)
    if (outcome <= status.nonFiniteValue) yield* explainUnusable(this.#options, withCopies(problem, isStrided))
    return outputOverflows(problem.output.type)
  }
}

function nativeOptions(options: BlockOptions, isa: InstructionSet): NativeBlockOptions {
  const { heads, kvHeads, headDim, valueDim, softmaxScale, causal, window = 0, keepFirst, rotate, threads } = options
  const { queryBits, keyBits, valueBits, planeBits, keyOffset, valueOffset, alibiSlopes, sinks } = options
  return {
    version: 2,
    ...{ heads, kvHeads, headDim, valueDim, softmaxScale, causal, window, keepFirst, rotate, threads, isa },
    ...{ queryBits, keyBits, valueBits, planeBits },
    keyOffset: float32List(keyOffset),
    valueOffset: float32List(valueOffset),
    alibiSlopes: float32List(alibiSlopes),
    sinks: float32List(sinks),
  }
}

function nativeCall(problem: Problem): NativeBlockCall | NativeCachedCall {
  const { caches } = problem
  return caches ? cachedCall(problem, caches) : wholeCall(problem)
}

function cachedCall(problem: Problem, caches: readonly CacheState[]): NativeCachedCall {
  const { query, output, intermediates } = problem
  const masks = nativeMasks(problem)
  return {
    batch: problem.batch,
    queryLength: problem.queryLength,
    caches: caches.map(({ store }) => (store as NativeStore).cache),
    query: query.data,
    queryType: elementTypeCode(query.type),
    queryStrides: nativeStrides(query),
    queryScale: query.scale,
    queryStart: masks.queryStart,
    mask: masks.mask,
    maskDims: masks.maskDims,
    bias: masks.bias,
    biasDims: masks.biasDims,
    output: output.data,
    outputType: elementTypeCode(output.type),
    outputStrides: nativeStrides(output),
    logSumExp: problem.logSumExp,
    intermediates: intermediates?.version === 2 ? intermediatesFor(intermediates) : undefined,
    times: new Float64Array(6),
  }
}

function wholeCall(problem: Problem): NativeBlockCall {
  const { query, key, value, output } = problem
  const masks = nativeMasks(problem)
  // One literal: objects put together from parts take several times as long, and this is most of a short call.
  return {
    batch: problem.batch,
    queryLength: problem.queryLength,
    keyLength: problem.keyLength,
    query: query.data,
    queryType: elementTypeCode(query.type),
    queryStrides: nativeStrides(query),
    queryScale: query.scale,
    key: key.data,
    keyType: elementTypeCode(key.type),
    keyStrides: nativeStrides(key),
    keyScale: key.scale,
    value: value.data,
    valueType: elementTypeCode(value.type),
    valueStrides: nativeStrides(value),
    valueScale: value.scale,
    keyLengths: problem.keyLengths,
    queryStart: masks.queryStart,
    mask: masks.mask,
    maskDims: masks.maskDims,
    bias: masks.bias,
    biasDims: masks.biasDims,
    smoothKey: problem.smoothKey,
    centerValue: problem.centerValue,
    output: output.data,
    outputType: elementTypeCode(output.type),
    outputStrides: nativeStrides(output),
    logSumExp: problem.logSumExp,
    intermediates: problem.intermediates?.version === 2 ? intermediatesFor(problem.intermediates) : undefined,
    times: new Float64Array(6),
  }
}

const isStrided = (tensor: CheckedTensor) => !isPlain(tensor)

function intermediatesFor(to: BlockIntermediates): NativeBlockIntermediates {
  const { queryInt, keyInt8, valueInt8, queryScale, keyScale, valueScale, unit, plane, rowSum, shift } = to
  return {
    ...{ queryScale, keyScale, valueScale, unit, plane, rowSum },
    query: new Int16Array(queryInt.length),
    key: keyInt8,
    value: valueInt8,
    blockExponent: new Int16Array(shift.length),
    valueExponent: new Int16Array(shift.length),
    shift: new Int16Array(shift.length),
  }
}

function report(from: NativeBlockIntermediates, to: BlockIntermediates): void {
  to.queryInt.set(from.query)
  to.blockExponent.set(from.blockExponent)
  to.valueExponent.set(from.valueExponent.map((z) => Math.max(z, absent.valueExponent)))
  to.shift.set(from.shift)
}

/** What the kernels never have in memory, by the reference engine from the same inputs. */
function deriveOthers(options: BlockOptions, problem: Problem, to: BlockIntermediates): void {
  const derived = allocateBlockIntermediates(options, problem)
  blockAttention(options, { ...withCopies(problem, isStrided), intermediates: derived, logSumExp: undefined })
  for (const name of ['keyOffset', 'valueOffset', 'scores', 'distance', 'weight', 'folded', 'blockSum'] as const) {
    to[name].set(derived[name])
  }
  if (!problem.caches) return
  for (const name of ['keyInt8', 'valueInt8', 'keyScale', 'valueScale'] as const) to[name].set(derived[name])
}
