/** What happens when stdout takes no more; each at most once. */
export interface StdoutLoss {
  /** Nobody reads on: no error. */
  onClosed(): void
  /** A full disk, for example. */
  onError(message: string): void
}

/**
 * Keeps writing to a stdout or stderr that takes no more from ending the process with a stack trace. What is lost on stderr can be
 * told nowhere.
 */
export function guardOutputStreams({ onClosed, onError }: StdoutLoss): void {
  process.stderr.on('error', () => {})
  let isLost = false
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (isLost) return
    isLost = true
    if (error.code === 'EPIPE') onClosed()
    else onError(`cannot write to stdout (${error.code ?? error.message})`)
  })
}
