import type { Input, Shape } from '../input.js'
import { isCheckout } from '../installation.js'
import type { Contender, Turn } from '../measure.js'
import { UsageError } from '../usage-error.js'
import { multiHeadAttentionModel } from './onnx-model.js'

/** The part of onnxruntime-node in use; its own types are absent where the optional package is. */
interface Onnxruntime {
  env: { versions: { node?: string } }
  Tensor: new (type: 'float32', data: Float32Array, dims: number[]) => object
  InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> }
}
interface Session {
  run(feeds: Record<string, object>, fetches: Record<string, object>): Promise<unknown>
  release(): Promise<void>
}

/** Its scripts would download what runs on GPUs. */
const REMEDY = isCheckout
  ? 'npm install --no-save --ignore-scripts onnxruntime-node'
  : 'npx --ignore-scripts --package=@intattn/bench --package=onnxruntime-node intattn-bench'

/** onnxruntime's `com.microsoft.MultiHeadAttention` in float32 on one problem. */
export interface PeerContender extends Contender {
  readonly name: string
  readonly version: string
  /** The output of the last run, [batch, heads, queryLength, headDim]. */
  output(): Float32Array
  /**
   * The same operator on one token and one thread: what a call costs without work. Waking threads is the engine's own
   * business, in ours too.
   */
  readonly idle: Contender
  release(): Promise<void>
}

/** onnxruntime-node, loaded. */
export interface Peer {
  readonly name: 'onnxruntime'
  /** @throws UsageError for a problem that the operator does not compute as we do */
  check(shape: Shape): void
  open(input: Input, threads: number): Promise<PeerContender>
}

/** [batch, heads, length, headDim] -> [batch, length, outHeads * headDim], each head repeated outHeads / heads times. */
function pack(data: Float32Array, batch: number, heads: number, outHeads: number, length: number, headDim: number) {
  const packed = new Float32Array(batch * length * outHeads * headDim)
  for (let item = 0; item < batch; item++) {
    for (let outHead = 0; outHead < outHeads; outHead++) {
      const plane = item * heads + Math.floor((outHead * heads) / outHeads)
      for (let token = 0; token < length; token++) {
        const begin = (plane * length + token) * headDim
        packed.set(data.subarray(begin, begin + headDim), ((item * length + token) * outHeads + outHead) * headDim)
      }
    }
  }
  return packed
}

/** [batch, length, heads * headDim] -> [batch, heads, length, headDim] */
function unpack(packed: Float32Array, batch: number, heads: number, length: number, headDim: number) {
  const data = new Float32Array(packed.length)
  for (let item = 0; item < batch; item++) {
    for (let head = 0; head < heads; head++) {
      for (let token = 0; token < length; token++) {
        const begin = ((item * length + token) * heads + head) * headDim
        data.set(packed.subarray(begin, begin + headDim), ((item * heads + head) * length + token) * headDim)
      }
    }
  }
  return data
}

function refused(error: unknown): never {
  const reason = String((error as Error).message).trim()
  throw new UsageError('--peer', 'onnxruntime to compute this problem', reason)
}

async function openContender(ort: Onnxruntime, input: Input, threads: number) {
  const { batch, heads, kvHeads, queryLength, keyLength, headDim } = input
  const session = await ort.InferenceSession.create(multiHeadAttentionModel(input), {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    logSeverityLevel: 3,
    // Its threads spin while a run lasts, as by default, but not on into the next contender's turn.
    extra: { session: { force_spinning_stop: '1' } },
  }).catch(refused)
  const tensor = (data: Float32Array, length: number) =>
    new ort.Tensor('float32', data, [batch, length, heads * headDim])
  const feeds = {
    query: tensor(pack(input.query, batch, heads, heads, queryLength, headDim), queryLength),
    key: tensor(pack(input.key, batch, kvHeads, heads, keyLength, headDim), keyLength),
    value: tensor(pack(input.value, batch, kvHeads, heads, keyLength, headDim), keyLength),
  }
  const packed = new Float32Array(batch * queryLength * heads * headDim)
  const fetches = { output: tensor(packed, queryLength) }
  return {
    async run(): Promise<Turn> {
      const begin = process.hrtime.bigint()
      await session.run(feeds, fetches).catch(refused)
      return { ms: Number(process.hrtime.bigint() - begin) / 1e6 }
    },
    output: () => unpack(packed, batch, heads, queryLength, headDim),
    release: () => session.release(),
  }
}

function oneToken(input: Input): Input {
  const { batch, heads, kvHeads, headDim } = input
  return {
    ...input,
    queryLength: 1,
    keyLength: 1,
    query: new Float32Array(batch * heads * headDim),
    key: new Float32Array(batch * kvHeads * headDim),
    value: new Float32Array(batch * kvHeads * headDim),
  }
}

/**
 * Loads onnxruntime-node.
 *
 * @throws UsageError when it is not installed or does not load on this machine
 */
export async function loadOnnxruntime(): Promise<Peer> {
  // Not a literal, so that this package also compiles without the optional one.
  const packageName: string = 'onnxruntime-node'
  let ort: Onnxruntime
  try {
    const module = await import(packageName)
    ort = module.default ?? module
  } catch (error) {
    const reason = String((error as Error).message).split('\n', 1)[0]
    throw new UsageError('--peer', `onnxruntime-node to load (remedy: ${REMEDY})`, `'onnxruntime': ${reason}`)
  }
  const name = 'onnxruntime'
  const version = ort.env.versions.node ?? 'unknown'
  return {
    name,
    check({ causal, queryLength, keyLength }) {
      if (!causal || queryLength === keyLength) return
      const lengths = `${queryLength} queries and ${keyLength} keys`
      throw new UsageError('--peer', 'as many queries as keys under a causal mask, for onnxruntime', lengths)
    },
    async open(input, threads) {
      const idle = await openContender(ort, oneToken(input), 1)
      const contender = await openContender(ort, input, threads)
      return {
        name,
        version,
        idle,
        ...contender,
        async release() {
          await idle.release()
          await contender.release()
        },
      }
    },
  }
}
