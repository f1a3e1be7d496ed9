import type { Input, Shape } from './input.js'
import { Random } from './random.js'

/**
 * What synthetic logits look like:
 * - `normal`: query, key and value standard normal, so that logits have standard deviation 1;
 * - `flat`: logits x 0.1;
 * - `peaky`: logits x 4;
 * - `sink`: key 0 lies 8 logits above the mean of the others for every query, and every channel of V has a mean of its own.
 */
export const synthetics = ['normal', 'flat', 'peaky', 'sink'] as const
export type Synthetic = (typeof synthetics)[number]

/** What a synthetic input is made from: same dims and seed, same data, on every machine. */
export interface SyntheticDims {
  heads: number
  kvHeads: number
  /** Keys, and queries where `queryLength` does not say otherwise. */
  length: number
  queryLength?: number
  headDim: number
  causal: boolean
  seed: number
}

const LOGIT_FACTOR: Readonly<Record<Synthetic, number>> = { normal: 1, flat: 0.1, peaky: 4, sink: 1 }
const SINK_LOGIT = 8
/** Standard deviation of V's channel means; the values around them have 1. */
const CHANNEL_MEAN = 2

function normals(random: Random, count: number, factor: number): Float32Array {
  const values = new Float32Array(count)
  for (let i = 0; i < count; i++) values[i] = factor * random.normal()
  return values
}

function unitVector(random: Random, dim: number): Float64Array {
  const direction = Float64Array.from({ length: dim }, () => random.normal())
  let square = 0
  for (const x of direction) square += x * x
  const norm = Math.sqrt(square)
  return direction.map((x) => x / norm)
}

/** Sets the component along `direction` of one row. */
function setComponent(row: Float32Array, direction: Float64Array, component: number): void {
  let current = 0
  for (let c = 0; c < row.length; c++) current += row[c]! * direction[c]!
  for (let c = 0; c < row.length; c++) row[c] = row[c]! + (component - current) * direction[c]!
}

/**
 * Queries share one component along a direction which only the sink's key has: its logit is 8 for every query, and the
 * others' logits stay normal. Query and sink share the product's magnitude, so that neither stands out in a channel.
 */
function addSink(random: Random, { heads, kvHeads, length, headDim }: SyntheticDims, input: Input): void {
  const { queryLength } = input
  const magnitude = Math.sqrt(SINK_LOGIT / input.softmaxScale)
  const directions = Array.from({ length: kvHeads }, () => unitVector(random, headDim))
  const row = (data: Float32Array, index: number) => data.subarray(index * headDim, (index + 1) * headDim)
  for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
    const direction = directions[kvHead]!
    for (let token = 0; token < length; token++) setComponent(row(input.key, kvHead * length + token), direction, 0)
    row(input.key, kvHead * length).set(direction.map((x) => magnitude * x))
  }
  for (let head = 0; head < heads; head++) {
    const direction = directions[Math.floor((head * kvHeads) / heads)]!
    for (let token = 0; token < queryLength; token++) {
      setComponent(row(input.query, head * queryLength + token), direction, magnitude)
    }
  }
  for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
    const means = Float64Array.from({ length: headDim }, () => CHANNEL_MEAN * random.normal())
    for (let token = 0; token < length; token++) {
      const values = row(input.value, kvHead * length + token)
      for (let c = 0; c < headDim; c++) values[c] = values[c]! + means[c]!
    }
  }
}

/** The problem that {@link synthesize} makes numbers for; batch 1. */
export function syntheticShape(dims: SyntheticDims): Shape {
  const { heads, kvHeads, length, queryLength = length, headDim, causal } = dims
  const softmaxScale = 1 / Math.sqrt(headDim)
  return { batch: 1, heads, kvHeads, queryLength, keyLength: length, headDim, causal, softmaxScale }
}

/** Random query, key and value, drawn in this order from {@link Random}. */
export function synthesize(kind: Synthetic, dims: SyntheticDims): Input {
  const { heads, kvHeads, length, queryLength = length, headDim, seed } = dims
  const random = new Random(seed)
  const input: Input = {
    source: `synthetic ${kind}, seed ${seed}`,
    ...syntheticShape(dims),
    query: normals(random, heads * queryLength * headDim, LOGIT_FACTOR[kind]),
    key: normals(random, kvHeads * length * headDim, 1),
    value: normals(random, kvHeads * length * headDim, 1),
  }
  if (kind === 'sink') addSink(random, dims, input)
  return input
}
