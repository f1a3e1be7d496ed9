import { availableResources } from '@intattn/acl'
import type { Options } from './cli.js'
import { bundledInput, firstTokens, type Input, lastQuery, loadInput, type Shape } from './input.js'
import { synthesize, syntheticShape } from './synthetic.js'
import { UsageError } from './usage-error.js'

const DEFAULT_LENGTH = 1024
const DEFAULT_HEAD_DIM = 128

/** An input that is made when its turn comes; its shape is known before. */
export interface Source {
  shape: Shape
  make(): Input
}

/** @throws UsageError for what is more than the memory of this machine, or of the container it runs in */
export function requireMemory(flag: string, what: string, bytes: number): void {
  const gibibytes = (count: number) => `${(count / 2 ** 30).toFixed(1)} GiB`
  const { memoryBytes } = availableResources()
  if (bytes <= memoryBytes) return
  throw new UsageError(flag, `${what} within the memory, ${gibibytes(memoryBytes)}`, gibibytes(bytes))
}

const windowOf = ({ window }: Options): Pick<Shape, 'window'> => (window === undefined ? {} : { window })

function synthetic(options: Options): Source[] {
  const { lengths = [DEFAULT_LENGTH], headDims = [DEFAULT_HEAD_DIM], heads = options.kvHeads ?? 1 } = options
  const { kvHeads = heads, synthetic: kind = 'normal', decode, causal = decode, seed } = options
  const limits = windowOf(options)
  return headDims.flatMap((headDim) =>
    lengths.map((length) => {
      const queryLength = decode ? 1 : length
      // Query, key, value and output in float32, the exact output in float64.
      requireMemory(decode ? '--past' : '--L', 'tensors', headDim * (16 * heads * queryLength + 8 * kvHeads * length))
      const dims = { heads, kvHeads, length, queryLength, headDim, causal, seed }
      return { shape: { ...syntheticShape(dims), ...limits }, make: () => ({ ...synthesize(kind, dims), ...limits }) }
    }),
  )
}

function fromFile(options: Options, path: string): Source[] {
  const input = loadInput(path, (bytes) => requireMemory('--input', 'tensors', bytes))
  const { heads = input.heads, kvHeads = input.kvHeads, headDims = [input.headDim], causal = input.causal } = options
  const expect = (flag: string, own: number, asked: number) => {
    if (asked !== own) throw new UsageError(flag, `${own}, as in the input`, `${asked}`)
  }
  for (const headDim of headDims) expect('--d', input.headDim, headDim)
  expect('--heads', input.heads, heads)
  expect('--kv-heads', input.kvHeads, kvHeads)
  const whole = { ...input, causal, ...windowOf(options) }
  const parts = options.lengths?.map((length) => firstTokens(whole, length)) ?? [whole]
  const inputs = options.decode ? parts.map(lastQuery) : parts
  return inputs.map((problem) => ({ shape: problem, make: () => problem }))
}

/**
 * The inputs to measure on: of the file named, else random when a shape or a kind of random data is, else the bundled one.
 *
 * @throws UsageError
 */
export function sources(options: Options): Source[] {
  if (options.input !== undefined) return fromFile(options, options.input)
  const { synthetic: kind, lengths, headDims, heads, kvHeads } = options
  const shaped = [kind, lengths, headDims, heads, kvHeads].some((value) => value !== undefined)
  return shaped ? synthetic(options) : fromFile(options, bundledInput)
}
