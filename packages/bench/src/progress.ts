import { Presets, SingleBar } from 'cli-progress'

/** How far the benchmark is. */
export interface Progress {
  /** A new part with this many steps begins. */
  begin(title: string, steps: number): void
  step(): void
  /** Takes the display away. */
  stop(): void
}

/** A bar on stderr when that is a terminal, else nothing. */
export function createProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  if (!stream.isTTY) return { begin() {}, step() {}, stop() {} }
  // Nothing that would have to be restored: an interrupt simply ends the process.
  const bar = new SingleBar(
    { stream, format: '{title} [{bar}] {value}/{total}', clearOnComplete: true, hideCursor: false, linewrap: true },
    Presets.legacy,
  )
  return {
    begin(title, steps) {
      bar.stop()
      bar.start(steps, 0, { title })
    },
    step: () => bar.increment(),
    stop: () => bar.stop(),
  }
}
