import { availableParallelism, totalmem } from 'node:os'
import { type GroupLimits, groupLimits } from './cgroups.js'

/** What this process may use of the machine. */
export interface AvailableResources {
  /** How many threads can run at once: as the process's affinity and, rounded up, its quota of processor time allow. */
  threads: number
  /** The machine's memory, or its part that the process is limited to. */
  memoryBytes: number
}

let limits: GroupLimits | undefined

/** What this process may use of the machine, which a container may limit: what defaults and checks go by. Limits are read once per thread. */
export function availableResources(): AvailableResources {
  limits ??= groupLimits()
  return {
    threads: Math.max(1, Math.min(availableParallelism(), Math.ceil(limits.processors))),
    memoryBytes: Math.min(totalmem(), limits.memoryBytes),
  }
}
