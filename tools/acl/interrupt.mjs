import { $ } from 'zx/core'
import { removeUnfinished } from './temporary.mjs'

/** @type {NodeJS.Signals | undefined} */
let received

/** The signal that told this process to stop. */
export const interruptedBy = () => received

/** On SIGINT, SIGTERM and SIGHUP ends the programs that were started, and what is unfinished goes. */
export function stopCleanly() {
  const controller = new AbortController()
  $.signal = controller.signal
  // A process group of their own, which is ended as one.
  $.detached = true
  for (const signal of /** @type {NodeJS.Signals[]} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
    process.once(signal, () => {
      received = signal
      controller.abort()
      // What waits for a program comes back now; what copies files may not: it is not waited for long.
      setTimeout(() => end(signal), 2000).unref()
      setTimeout(() => {}, 2100)
    })
}

/**
 * Waits, not for ever, until no process of a group is left.
 * @param {number} group
 */
export async function groupEnded(group) {
  for (let i = 0; i < 30; i += 1) {
    try {
      process.kill(-group, 0)
    } catch {
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** @param {NodeJS.Signals} signal */
export function end(signal) {
  removeUnfinished()
  process.stderr.write(`interrupted by ${signal}\n`)
  process.exit(signal === 'SIGINT' ? 130 : signal === 'SIGTERM' ? 143 : 129)
}
