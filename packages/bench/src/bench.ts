import { Attention, availableResources, engines, type StageTimes } from '@intattn/acl'
import { type Accuracy, compare, exactAttention } from './accuracy.js'
import { type CallOverhead, measureCallOverhead } from './call-overhead.js'
import { checkProblems, checkReference } from './check.js'
import type { Options } from './cli.js'
import { type Choice, type OwnContender, openContender, type Variant, variants } from './contenders.js'
import { type Input, usefulMacs } from './input.js'
import { type Contender, interleave, planRounds, type Turn } from './measure.js'
import { loadOnnxruntime, type Peer, type PeerContender } from './peers/onnxruntime.js'
import { openPlainRead, type PlainRead } from './plain-read.js'
import type { Progress } from './progress.js'
import { Random } from './random.js'
import { type PeerResult, problemOf, type Result, type TableResult } from './results.js'
import { sources } from './sources.js'
import { medianOf, summarize } from './statistics.js'

/** Rest before each turn with several threads: longer than ours spin after a run, about 0.2 ms. */
const PAUSE_MS = 0.5

/** The engines of the flags; without: the one the environment names, else the native one, and ComputeLibrary where it runs. */
function choicesOf({ engines: asked, isa }: Options): Omit<Choice, 'defaultPreset'>[] {
  const native = isa ? { isa } : {}
  if (asked) return asked.map((engine) => (engine === 'native' ? { engine, ...native } : { engine }))
  const beside = engines().some(({ name, available }) => name === 'acl' && available) && !isa
  return process.env.INTATTN_ENGINE || !beside ? [native] : [{ engine: 'native' }, { engine: 'acl' }]
}

function plannedVariants(options: Options): Variant[] {
  const { pipelines, preset, layouts, threads = [Math.min(256, availableResources().threads)] } = options
  // An engine that cannot run here is told of before anything is read or made.
  const probes = choicesOf(options).map((choice) => {
    const probe = new Attention({ heads: 1, headDim: 1, threads: 1, ...choice })
    probe.dispose()
    return { choice: { ...choice, defaultPreset: probe.options.preset! }, engine: probe.engine }
  })
  const choices = probes.map(({ choice }) => choice)
  const isReference = probes.some(({ engine }) => engine === 'reference')
  if (isReference) checkReference(options)
  return variants(pipelines, isReference ? [1] : threads, choices, preset, layouts)
}

/** What runs on one input. */
interface Field {
  own: { variant: Variant; contender: OwnContender }[]
  peers: { threads: number; contender: PeerContender }[]
  /** Plain reads of as many bytes as own contenders read of a cache. */
  reads: { threads: number; contender: PlainRead }[]
}

async function close({ own, peers, reads }: Field): Promise<void> {
  for (const { contender } of own) contender.dispose()
  for (const { contender } of peers) await contender.release()
  for (const { contender } of reads) await contender.close()
}

async function open(input: Input, options: Options, planned: readonly Variant[], peer?: Peer): Promise<Field> {
  const field: Field = { own: [], peers: [], reads: [] }
  const output = new Float32Array(input.query.length)
  try {
    for (const variant of planned) {
      field.own.push({ variant, contender: openContender(variant, input, options.inputType, output) })
    }
    if (options.decode) {
      for (const threads of new Set(planned.map((variant) => variant.threads))) {
        const { contender } =
          field.own.find(({ variant }) => variant.threads === threads && variant.layout === 'pages') ?? field.own[0]!
        field.reads.push({ threads, contender: await openPlainRead(contender.readBytes, threads) })
      }
    }
    if (!peer) return field
    for (const threads of new Set(planned.map((variant) => variant.threads))) {
      field.peers.push({ threads, contender: await peer.open(input, threads) })
    }
    return field
  } catch (error) {
    await close(field)
    throw error
  }
}

function medianStages(turns: readonly Turn[]): Omit<StageTimes, 'total'> {
  const medianStage = (name: keyof StageTimes) => medianOf(turns.map(({ stages }) => stages?.[name] ?? 0))
  return {
    prepare: medianStage('prepare'),
    scores: medianStage('scores'),
    softmax: medianStage('softmax'),
    values: medianStage('values'),
    output: medianStage('output'),
  }
}

async function measureInput(
  input: Input,
  options: Options,
  { own, peers, reads }: Field,
  progress: Progress,
): Promise<TableResult> {
  const contenders = [...own, ...peers].map(({ contender }) => contender)
  progress.begin('accuracy', contenders.length + 1)
  const exact = exactAttention(input)
  progress.step()
  const accuracies = new Map<Contender, Accuracy>()
  let roundMs = 0
  for (const contender of contenders) {
    roundMs += (await contender.run()).ms
    accuracies.set(contender, compare(contender.output(), exact, input))
    progress.step()
  }
  const rounds = planRounds(roundMs, options)
  progress.begin(`L ${input.keyLength} d ${input.headDim}`, rounds.warmup + rounds.runs)
  const idle = peers.map(({ contender }) => contender.idle)
  const pauseMs = own.some(({ variant }) => variant.threads > 1) ? PAUSE_MS : 0
  const random = new Random(options.seed)
  const turns = await interleave(
    [...contenders, ...idle, ...reads.map(({ contender }) => contender)],
    rounds,
    random,
    pauseMs,
    () => progress.step(),
  )

  const problem = problemOf(input, options.inputType, options.seed)
  const macs = usefulMacs(input)
  const timing = (contender: Contender, threads: number) => {
    const samplesMs = turns.get(contender)!.map(({ ms }) => ms)
    const summary = summarize(samplesMs)
    const gmacPerSecond = macs / summary.medianMs / 1e6
    return {
      ...problem,
      threads,
      ...rounds,
      ...summary,
      samplesMs,
      gmacPerSecond,
      accuracy: accuracies.get(contender)!,
    }
  }
  const results = own.map(({ variant: { pipeline, preset, threads, layout }, contender }): Result => {
    const ownTurns = turns.get(contender)!
    const timed = timing(contender, threads)
    const gigabytesPerSecond = contender.readBytes / timed.medianMs / 1e6
    const read = reads.find((other) => other.threads === threads)?.contender
    const readMs = read && medianOf(turns.get(read)!.map(({ ms }) => ms))
    return {
      pipeline,
      engine: contender.engine,
      isa: contender.isa,
      preset,
      layout,
      cacheBytes: contender.cacheBytes,
      readBytes: contender.readBytes,
      gigabytesPerSecond,
      shareOfBandwidth: read && readMs ? gigabytesPerSecond / (read.bytes / readMs / 1e6) : null,
      ...timed,
      stagesMs: medianStages(ownTurns),
      callOverheadUs: 1000 * medianOf(ownTurns.map(({ callOverheadMs = 0 }) => callOverheadMs)),
      memoryBytes: contender.memoryBytes,
      ratioToFp32: null,
      ratioToAclFp16: null,
    }
  })
  for (const result of results) {
    const rivals = results.filter(({ threads }) => threads === result.threads)
    const fp32 = rivals.find(({ pipeline, engine }) => pipeline === 'fp32' && engine === result.engine)
    const aclFp16 = rivals.find(({ pipeline, engine }) => pipeline === 'fp16' && engine === 'acl')
    if (fp32) result.ratioToFp32 = fp32.medianMs / result.medianMs
    if (aclFp16) result.ratioToAclFp16 = aclFp16.medianMs / result.medianMs
  }
  const peerResults = peers.map(({ threads, contender }): PeerResult => {
    const { name, version, operator } = contender
    const callOverheadMs = medianOf(turns.get(contender.idle)!.map(({ ms }) => ms))
    // The peer takes float32, whatever ours are given.
    return { name, version, operator, ...timing(contender, threads), inputType: 'float32', callOverheadMs }
  })
  return { problem, rounds, results, peers: peerResults }
}

/** Who is told how far the measuring is. */
export interface Listener {
  /** Whatever could be checked has been; the measuring begins. */
  onStart(): void
  /** One input is done. */
  onTable(table: TableResult): void
}

/**
 * Measures what the flags ask for, one input after the other.
 *
 * @throws UsageError or IntAttnError, before anything is measured where possible
 */
export async function bench(
  options: Options,
  progress: Progress,
  { onStart, onTable }: Listener,
): Promise<{ callOverheadUs: CallOverhead; tables: TableResult[] }> {
  const planned = plannedVariants(options)
  const inputs = sources(options)
  const peer = options.peer && (await loadOnnxruntime())
  const shapes = inputs.map(({ shape }) => shape)
  checkProblems(shapes, planned, peer)
  const callOverheadUs = await measureCallOverhead(
    planned.findLast(({ engine }) => engine !== 'acl') ?? planned[0]!,
    shapes[0]!.headDim,
  )
  const tables: TableResult[] = []
  for (const { make } of inputs) {
    const input = make()
    const field = await open(input, options, planned, peer)
    if (tables.length === 0) onStart()
    try {
      const table = await measureInput(input, options, field, progress)
      progress.stop()
      onTable(table)
      tables.push(table)
    } finally {
      await close(field)
    }
  }
  return { callOverheadUs, tables }
}
