import { Attention } from '@intattn/acl'
import type { Variant } from './contenders.js'
import { medianOf } from './statistics.js'

/** Medians in µs of what a call takes beyond the time inside C++: warm, on one token, one head and one thread. */
export interface CallOverhead {
  runSync: number
  /** `await run`: to another thread and back through the event loop. */
  run: number
}

/** Until the JIT compiler has settled. */
const WARMUP = 5000
const CALLS = 200

/** What a call costs by itself; in the mix of a benchmark, cold caches come on top. */
export async function measureCallOverhead(variant: Variant, headDim: number): Promise<CallOverhead> {
  const { pipeline, preset, engine, isa } = variant
  const attention = new Attention({
    ...{ pipeline, heads: 1, headDim, threads: 1 },
    ...(preset && { preset }),
    ...(engine && { engine }),
    ...(isa && { isa }),
  })
  const tensor = () => ({ type: 'float32' as const, dims: [1, 1, 1, headDim], data: new Float32Array(headDim).fill(1) })
  const inputs = { query: tensor(), key: tensor(), value: tensor(), output: tensor() }
  const overheadUs = (begin: bigint, totalMs: number) => Number(process.hrtime.bigint() - begin) / 1e3 - 1e3 * totalMs
  const runSync: number[] = []
  const run: number[] = []
  for (let call = 0; call < WARMUP + CALLS; call++) {
    const begin = process.hrtime.bigint()
    const { stages } = attention.runSync(inputs)
    runSync.push(overheadUs(begin, stages.total))
  }
  for (let call = 0; call < WARMUP + CALLS; call++) {
    const begin = process.hrtime.bigint()
    const { stages } = await attention.run(inputs)
    run.push(overheadUs(begin, stages.total))
  }
  attention.dispose()
  return { runSync: medianOf(runSync.slice(WARMUP)), run: medianOf(run.slice(WARMUP)) }
}
