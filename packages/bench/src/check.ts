import { Attention } from '@intattn/acl'
import type { Options } from './cli.js'
import type { Variant } from './contenders.js'
import type { Shape } from './input.js'
import type { Peer } from './peers/onnxruntime.js'
import { requireMemory } from './sources.js'
import { UsageError } from './usage-error.js'

/** Longest key sequences; row sums of the `int` pipeline must fit 32 bits in version 1 of the arithmetic, 63 bits in version 2. */
const MAX_KEYS = 2 ** 24
const MAX_KEYS_OF_INT = { 1: 263_172, 2: 262_144 }

/**
 * Finds what cannot be run before anything is made or measured.
 *
 * @throws UsageError or IntAttnError
 */
export function checkProblems(shapes: readonly Shape[], planned: readonly Variant[], peer?: Peer): void {
  for (const shape of shapes) {
    const { batch, heads, kvHeads, queryLength, keyLength, headDim, causal, window, softmaxScale } = shape
    for (const { pipeline, preset, engine, isa } of planned) {
      const probe = new Attention({
        ...{ pipeline, heads, kvHeads, headDim, causal, softmaxScale, threads: 1 },
        ...(preset && { preset }),
        ...(engine && { engine }),
        ...(isa && { isa }),
        ...(window && { window }),
      })
      probe.dispose()
      const most = pipeline === 'int' ? MAX_KEYS_OF_INT[probe.options.version!] : MAX_KEYS
      const flag = queryLength === keyLength ? '--L' : '--past'
      if (keyLength > most) throw new UsageError(flag, `at most ${most} for the pipeline ${pipeline}`, `${keyLength}`)
    }
    if (!peer) continue
    peer.check(shape)
    const scores = causal && queryLength > 1 ? 4 * batch * heads * queryLength * keyLength : 0
    requireMemory('--peer', `causal scores, which ${peer.name} stores,`, scores)
  }
}

/** @throws UsageError for flags that the engine would not heed */
export function checkReference({ threads = [1] }: Options): void {
  if (threads.some((count) => count !== 1)) {
    throw new UsageError('--threads', '1, as the reference engine has one thread', threads.join(','))
  }
}
