import type { EngineName, Pipeline, Preset, StageTimes } from '@intattn/acl'
import type { Accuracy } from './accuracy.js'
import type { Layout } from './cli.js'
import type { Input } from './input.js'
import type { Rounds } from './measure.js'
import type { Summary } from './statistics.js'

/** The problem a result belongs to. */
export interface Problem {
  /** Keys. */
  L: number
  queryLength: number
  d: number
  heads: number
  kvHeads: number
  batch: number
  causal: boolean
  /** Keys that a query sees; null: all. */
  window: number | null
  /** Where the data comes from. */
  input: string
  /** Of query, key and value as the pipelines are given them. */
  inputType: string
  seed: number
}

interface Timing extends Problem, Rounds, Summary {
  threads: number
  samplesMs: number[]
  /** Useful multiply-accumulates, 2 x visible (query, key) pairs x d x heads, per second at the median. */
  gmacPerSecond: number
  accuracy: Accuracy
}

/** One pipeline of ours. Times are measured inside C++. */
export interface Result extends Timing {
  pipeline: Pipeline
  engine: EngineName
  /** null for the reference engine. */
  isa: string | null
  /** null for the float pipelines, which have none. */
  preset: Preset | null
  /** `whole`: keys and values are float tensors, quantized in each call; `pages`: they lie in a quantized cache. */
  layout: Layout
  /** Of that cache; null without. */
  cacheBytes: number | null
  /** What of keys and values a call reads at least. */
  readBytes: number
  /** The rate of that at the median. */
  gigabytesPerSecond: number
  /** Over the rate of a plain read of as many bytes on as many threads, in the same rounds; null where that was not measured. */
  shareOfBandwidth: number | null
  /** Medians; they need not add up to `medianMs`: threads also wait. */
  stagesMs: Omit<StageTimes, 'total'>
  /** Median of what `runSync` took beyond the time inside C++, in this mix of work: mostly the price of cold caches. */
  callOverheadUs: number
  /** Working memory beside inputs and output. */
  memoryBytes: number
  /** fp32's median over this one, same engine and threads; null when fp32 was not measured. */
  ratioToFp32: number | null
  /** The median of ComputeLibrary's fp16, the paper's baseline, over this one, same threads; null when not measured. */
  ratioToAclFp16: number | null
}

/** A peer. Times are measured from JavaScript and include `callOverheadMs`. */
export interface PeerResult extends Timing {
  name: string
  /** What computes, by its name in the peer. */
  operator: string
  version: string
  /** Median of calls that have next to nothing to compute, taken in the same rounds. */
  callOverheadMs: number
}

/** Everything measured on one problem. */
export interface TableResult {
  problem: Problem
  rounds: Rounds
  results: Result[]
  peers: PeerResult[]
}

/** The problem of an input, for the report. */
export function problemOf(input: Input, inputType: string, seed: number): Problem {
  return {
    L: input.keyLength,
    queryLength: input.queryLength,
    d: input.headDim,
    heads: input.heads,
    kvHeads: input.kvHeads,
    batch: input.batch,
    causal: input.causal,
    window: input.window ?? null,
    input: input.source,
    inputType,
    seed,
  }
}

/**
 * The peer's median without its call overhead, over a result's; null without a peer on as many threads, or when the
 * overhead is most of its time, so that what is left is noise.
 */
export function ratioToPeer(result: Result, peers: readonly PeerResult[]): number | null {
  const peer = peers.find(({ threads }) => threads === result.threads)
  if (!peer) return null
  const netMs = peer.medianMs - peer.callOverheadMs
  return netMs < peer.callOverheadMs ? null : netMs / result.medianMs
}
