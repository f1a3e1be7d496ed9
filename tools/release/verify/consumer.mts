// Compiled against the packed declarations, as a program of a user: with the oldest library of ECMAScript that they are for, without
// Node.js's types.
import {
  Attention,
  type AttentionOptions,
  type DoctorReport,
  engines,
  IntAttnError,
  indexSoftmax,
  LoaderError,
  quantize,
  type Tensor,
} from '@intattn/acl'

export const works = (report: DoctorReport): boolean => report.default.works

const options: AttentionOptions = { heads: 1, headDim: 8, causal: true }
const attention = new Attention(options)
const dims = [1, 1, 4, 8] as const
const query: Tensor = { type: 'float32', dims, data: new Float32Array(32) }
const key: Tensor = { type: 'float16', dims, data: new Uint16Array(32) }
const value: Tensor = { type: 'int8', dims, data: new Int8Array(32), scale: Float32Array.of(1) }
try {
  const { output, stages } = await attention.run({ query, key, value })
  const data: Float32Array = output.data
  const total: number = stages.total
  const half = { type: 'float16', dims, data: new Uint16Array(32) } as const
  const bits = attention.runSync({ query, key, value, output: half }).output.data
  const first: number | undefined = bits[0]
  const { quantized } = quantize({ values: { type: 'float32', dims, data }, scope: 'head' })
  const { probabilities } = indexSoftmax({ scores: new Int32Array(4), rows: 1, cols: 4, logitScale: 1 })
  const names: string[] = engines().map(({ name }) => name)
  const seen: Record<string, unknown> = { total, first, quantized, probabilities, names }
  if (!seen.names) throw new Error('no engines')
} catch (error) {
  if (error instanceof LoaderError) throw new Error(error.remedies.join('\n'), { cause: error })
  if (!(error instanceof IntAttnError)) throw error
} finally {
  attention[Symbol.dispose]()
}
