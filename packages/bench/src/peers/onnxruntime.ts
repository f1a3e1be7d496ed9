import type { Input, Shape } from '../input.js'
import { isCheckout } from '../installation.js'
import type { Contender, Turn } from '../measure.js'
import { UsageError } from '../usage-error.js'
import { groupQueryAttentionModel, multiHeadAttentionModel } from './onnx-model.js'

/** The part of onnxruntime-node in use; its own types are absent where the optional package is. */
interface Onnxruntime {
  env: { versions: { node?: string } }
  Tensor: new (type: 'float32' | 'int32', data: Float32Array | Int32Array, dims: number[]) => object
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

/**
 * onnxruntime's operator in float32 on one problem: `com.microsoft.MultiHeadAttention`, or for one query `GroupQueryAttention` with a cache
 * in a buffer that it shares with its output.
 */
export interface PeerContender extends Contender {
  readonly name: string
  readonly version: string
  readonly operator: string
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

/** What a session works on. */
interface Operands {
  operator: string
  model: Uint8Array
  feeds: Record<string, object>
  fetches: Record<string, object>
  /** [batch, heads, queryLength, headDim], of the last run. */
  output(): Float32Array
}

function multiHeadAttention(ort: Onnxruntime, input: Input): Operands {
  const { batch, heads, kvHeads, queryLength, keyLength, headDim } = input
  const tensor = (data: Float32Array, length: number) =>
    new ort.Tensor('float32', data, [batch, length, heads * headDim])
  const packed = new Float32Array(batch * queryLength * heads * headDim)
  return {
    operator: 'com.microsoft.MultiHeadAttention',
    model: multiHeadAttentionModel(input),
    feeds: {
      query: tensor(pack(input.query, batch, heads, heads, queryLength, headDim), queryLength),
      key: tensor(pack(input.key, batch, kvHeads, heads, keyLength, headDim), keyLength),
      value: tensor(pack(input.value, batch, kvHeads, heads, keyLength, headDim), keyLength),
    },
    fetches: { output: tensor(packed, queryLength) },
    output: () => unpack(packed, batch, heads, queryLength, headDim),
  }
}

/** The last token is the new one; all before it, and itself after the first run, lie in the cache. */
function groupQueryAttention(ort: Onnxruntime, input: Input): Operands {
  const { batch, heads, kvHeads, keyLength, headDim } = input
  const row = (data: Float32Array, count: number) => new ort.Tensor('float32', data, [batch, 1, count * headDim])
  const newest = (data: Float32Array) => {
    const rows = new Float32Array(batch * kvHeads * headDim)
    for (let head = 0; head < batch * kvHeads; head++) {
      const end = (head + 1) * keyLength * headDim
      rows.set(data.subarray(end - headDim, end), head * headDim)
    }
    return row(rows, kvHeads)
  }
  const cache = (data: Float32Array) => new ort.Tensor('float32', data.slice(), [batch, kvHeads, keyLength, headDim])
  const [key, value] = [cache(input.key), cache(input.value)]
  const output = new Float32Array(batch * heads * headDim)
  return {
    operator: 'com.microsoft.GroupQueryAttention',
    model: groupQueryAttentionModel(input),
    feeds: {
      query: row(input.query, heads),
      key: newest(input.key),
      value: newest(input.value),
      past_key: key,
      past_value: value,
      seqlens_k: new ort.Tensor('int32', new Int32Array(batch).fill(keyLength - 1), [batch]),
      total_sequence_length: new ort.Tensor('int32', Int32Array.of(keyLength), [1]),
    },
    fetches: { output: row(output, heads), present_key: key, present_value: value },
    output: () => output.slice(),
  }
}

const isDecode = ({ queryLength, keyLength }: Shape): boolean => queryLength === 1 && keyLength > 1

async function openContender(ort: Onnxruntime, input: Input, threads: number, operands = multiHeadAttention) {
  const { operator, model, feeds, fetches, output } = operands(ort, input)
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    logSeverityLevel: 3,
    // Its threads spin while a run lasts, as by default, but not on into the next contender's turn.
    extra: { session: { force_spinning_stop: '1' } },
  }).catch(refused)
  return {
    operator,
    async run(): Promise<Turn> {
      const begin = process.hrtime.bigint()
      await session.run(feeds, fetches).catch(refused)
      return { ms: Number(process.hrtime.bigint() - begin) / 1e6 }
    },
    output,
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
    check(shape) {
      const { causal, queryLength, keyLength, window } = shape
      if (isDecode(shape)) return
      if (window !== undefined) {
        throw new UsageError('--peer', 'no --window but with --decode, for onnxruntime', `--window ${window}`)
      }
      if (!causal || queryLength === keyLength) return
      const lengths = `${queryLength} queries and ${keyLength} keys`
      throw new UsageError('--peer', 'as many queries as keys under a causal mask, for onnxruntime', lengths)
    },
    async open(input, threads) {
      const operands = isDecode(input) ? groupQueryAttention : multiHeadAttention
      const idle = await openContender(ort, oneToken(input), 1, operands)
      const contender = await openContender(ort, input, threads, operands)
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
