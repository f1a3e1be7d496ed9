import { arrayLength, arrayName, canShrink, fixedView, isDetached } from './buffers.js'
import { failWith } from './checks.js'
import { describe } from './describe.js'
import { chooseEngine } from './engines.js'
import { NativeSession } from './native-session.js'
import { type ResolvedOptions, resolveOptions } from './options.js'
import { checkProblem, type Problem, withCopies } from './problem.js'
import { ReferenceSession } from './reference/session.js'
import type { Session } from './session.js'
import type {
  AttentionInputs,
  AttentionOptions,
  AttentionResult,
  EngineName,
  InstructionSet,
  StageTimes,
} from './types.js'

/**
 * softmax(Q Kᵀ · softmaxScale) V on the CPU, for any number of runs with the same heads, head dimension and pipeline.
 *
 * Keeps its threads and its working memory between runs. Any number of objects may work at the same time, in any number of worker
 * threads; the runs of one object follow one another in the order of the calls. Results do not depend on the number of threads.
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
  /** Of the native engine; undefined with the reference engine. */
  readonly isa: InstructionSet | undefined
  readonly #asked: AttentionOptions
  readonly #session: Session
  #pending = 0
  #last: Promise<void> = Promise.resolve()
  #disposed = false

  /** @throws {@link IntAttnError} for a bad option or an engine that cannot run here ({@link LoaderError}: is not there at all) */
  constructor(options: AttentionOptions) {
    this.options = resolveOptions(options)
    this.#asked = { ...options }
    const engine = chooseEngine(options.engine, options.isa)
    this.engine = engine.name
    this.isa = engine.name === 'native' ? engine.isa : undefined
    this.#session =
      engine.name === 'native'
        ? new NativeSession(engine.addon, engine.isa, this.options)
        : new ReferenceSession(this.options)
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
   * buffers, which rejects with `BUFFER_CHANGED` and may free memory that is still being read. Arrays on resizable buffers are copied
   * instead, and resizing them merely rejects. After an error the content of a supplied output is undefined.
   *
   * A run under way occupies one thread of Node's pool (UV_THREADPOOL_SIZE) beside the threads of the object.
   */
  async run(inputs: AttentionInputs): Promise<AttentionResult> {
    this.#requireLive()
    const problem = checkProblem(this.options, this.#asked, inputs)
    const working = withCopies(problem, (tensor) => canShrink(tensor.source))
    const previous = this.#last
    let finished = () => {}
    this.#last = new Promise((resolve) => {
      finished = resolve
    })
    try {
      this.#pending++
      if (this.#pending > 1) await previous
      requireUnchanged(problem)
      const stages = await this.#session.run(working)
      requireUnchanged(problem)
      if (working.output !== problem.output) fixedView(problem.output.source).set(working.output.data)
      return result(problem, stages)
    } finally {
      finished()
      this.#pending--
      this.#freeIfDone()
    }
  }

  /**
   * Computes attention on the calling thread.
   *
   * @throws {@link IntAttnError}; `BUSY` while a {@link Attention.run} of this object is under way
   */
  runSync(inputs: AttentionInputs): AttentionResult {
    this.#requireLive()
    if (this.#pending > 0) failWith('BUSY', 'attention', 'no run under way', `${this.#pending} pending`)
    const problem = checkProblem(this.options, this.#asked, inputs)
    return result(problem, this.#session.runSync(problem))
  }

  /** Frees threads and memory, after the runs under way have completed. May be called again. */
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

  #requireLive(): void {
    if (this.#disposed) failWith('DISPOSED', 'attention', 'an object that is still in use', 'one that was disposed')
  }
}

function result({ outputTensor: output, intermediates }: Problem, stages: StageTimes): AttentionResult {
  return intermediates ? { output, stages, intermediates } : { output, stages }
}

function requireUnchanged({ query, key, value, output }: Problem): void {
  for (const { argument, source, length } of [query, key, value, output]) {
    if (arrayLength(source) === length) continue
    const received = isDetached(source) ? `a detached ${arrayName(source)}` : describe(source)
    failWith('BUFFER_CHANGED', `${argument}.data`, `${length} elements until the run is complete`, received)
  }
}
