import { canShrink } from './checks/buffers.js'
import { failWith, type Snapshot } from './checks/checks.js'
import { writeBack } from './checks/dense.js'
import { type CheckedTensor, requireUnchanged } from './checks/tensors.js'
import { chooseEngine, chosenEngineName } from './engines.js'
import { type ResolvedOptions, readOptions, resolveOptions } from './options/options.js'
import { requireSupported, takesLayout } from './options/supported.js'
import { requireSameEngine } from './sessions/cached-problem.js'
import { createSession } from './sessions/create-session.js'
import { arraysOf, checkProblem, type Problem, withCopies } from './sessions/problem.js'
import type { Session } from './sessions/session.js'
import type {
  AttentionInputs,
  AttentionOptions,
  AttentionResult,
  CachedInputs,
  EngineName,
  Float32Tensor,
  FloatTensor,
  InstructionSet,
  StageTimes,
} from './types.js'

declare global {
  /** As in lib `esnext.disposable`, for compilers that do not have it or are not told to use it. */
  interface SymbolConstructor {
    readonly dispose: unique symbol
  }
}

/**
 * softmax(Q Kᵀ · softmaxScale) V on the CPU, for any number of runs with the same heads, head dimension and pipeline.
 *
 * Keeps its working memory between runs, and shares its threads with the other objects of the process. Any number of objects may work at
 * the same time, in any number of worker threads; the runs of one object follow one another in the order of the calls. Results do not
 * depend on the number of threads.
 *
 * @example
 * ```ts
 * const attention = new Attention({ heads: 9, kvHeads: 3, headDim: 64, causal: true })
 * const { output, stages } = await attention.run({ query, key, value })
 * attention.dispose()
 * ```
 */
export class Attention {
  /** The options with every default settled; those that the pipeline does not have are absent. */
  readonly options: ResolvedOptions
  readonly engine: EngineName
  /** Of the native engine; undefined with the others. */
  readonly isa: InstructionSet | undefined
  readonly #asked: Snapshot
  readonly #session: Session
  #pending = 0
  #last: Promise<void> = Promise.resolve()
  #disposed = false

  /** @throws {@link IntAttnError} for a bad option or an engine that cannot run here ({@link LoaderError}: is not there at all) */
  constructor(options: AttentionOptions) {
    this.#asked = readOptions(options)
    this.options = resolveOptions(this.#asked, chosenEngineName(this.#asked.engine))
    const engine = chooseEngine(this.#asked.engine, this.#asked.isa)
    requireSupported(engine.name, this.options)
    this.engine = engine.name
    this.isa = engine.name === 'native' ? engine.isa : undefined
    this.#session = createSession(engine, this.options)
  }

  /** Bytes of working memory held at present, inputs and outputs apart; 0 once disposed. */
  get memoryBytes(): number {
    return this.#disposed && this.#pending === 0 ? 0 : this.#session.memoryBytes
  }

  /**
   * Computes attention off the main thread (the reference engine: on it). Inputs are checked before this returns; whatever is wrong
   * rejects the promise with an {@link IntAttnError}.
   *
   * Arrays are read and written in place, so leave them alone until the promise settles: do not change them, and do not transfer their
   * buffers. Node-API cannot pin an ordinary ArrayBuffer: one that is transferred rejects the run with `BUFFER_CHANGED`, and if its new
   * owner frees the memory meanwhile, the process may crash. SharedArrayBuffers and {@link Attention.runSync} are free of that. Arrays
   * on resizable buffers are copied, and resizing them merely rejects; so are tensors of another layout than the engine reads
   * ({@link Tensor}). After an error the content of a supplied output is undefined.
   *
   * A run under way occupies one thread of Node's pool (UV_THREADPOOL_SIZE), which is one of its `threads`.
   *
   * @returns the output, which is the supplied tensor if there was one, and where the time went
   * @throws {@link IntAttnError}, by rejecting: `NON_FINITE` also when scores (`fp32` of the native engine) or the output overflow
   */
  async run<Output extends FloatTensor = Float32Tensor>(
    inputs: AttentionInputs<Output> | CachedInputs<Output>,
  ): Promise<AttentionResult<Output>> {
    const problem = this.#check(inputs)
    const working = withCopies(problem, (tensor) => canShrink(tensor.source) || !this.#takes(tensor))
    const arrays = arraysOf(problem)
    const previous = this.#last
    let finished = () => {}
    this.#last = new Promise((resolve) => {
      finished = resolve
    })
    for (const cache of problem.caches ?? []) cache.hold()
    try {
      this.#pending++
      if (this.#pending > 1) await previous
      requireUnchanged(arrays)
      const stages = await this.#session.run(working).finally(() => requireUnchanged(arrays))
      if (working.output !== problem.output) writeBack(working.output, problem.output)
      return result<Output>(problem, stages)
    } finally {
      finished()
      for (const cache of problem.caches ?? []) cache.letGo()
      this.#pending--
      this.#freeIfDone()
    }
  }

  /**
   * Computes attention on the calling thread.
   *
   * @returns as {@link Attention.run}
   * @throws {@link IntAttnError} as {@link Attention.run}; `BUSY` while a {@link Attention.run} of this object is under way
   */
  runSync<Output extends FloatTensor = Float32Tensor>(
    inputs: AttentionInputs<Output> | CachedInputs<Output>,
  ): AttentionResult<Output> {
    const problem = this.#check(inputs)
    if (this.#pending > 0) failWith('BUSY', 'attention', 'no run under way', `${this.#pending} pending`)
    requireUnchanged(arraysOf(problem))
    const working = withCopies(problem, (tensor) => !this.#takes(tensor))
    const stages = this.#session.runSync(working)
    if (working.output !== problem.output) writeBack(working.output, problem.output)
    return result<Output>(problem, stages)
  }

  /** Frees the working memory, after the runs under way have completed. May be called again. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#freeIfDone()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #freeIfDone(): void {
    if (this.#disposed && this.#pending === 0) this.#session.dispose()
  }

  #check(inputs: unknown): Problem {
    this.#requireLive()
    const problem = checkProblem(this.options, this.#asked, inputs)
    requireSupported(this.engine, this.options, problem)
    requireSameEngine(problem.caches, this)
    this.#requireLive() // getters of the inputs may have disposed of this
    return problem
  }

  #takes(tensor: CheckedTensor): boolean {
    return takesLayout(this.engine, this.options, tensor)
  }

  #requireLive(): void {
    if (this.#disposed) failWith('DISPOSED', 'attention', 'an object that is still in use', 'one that was disposed')
  }
}

/** The output is of the supplied tensor's type, or float32 when there was none. */
function result<Output extends FloatTensor>(problem: Problem, stages: StageTimes): AttentionResult<Output> {
  const { intermediates, logSumExp } = problem
  const output = problem.outputTensor as Output
  return { output, stages, ...(intermediates && { intermediates }), ...(logSumExp && { logSumExp }) }
}
