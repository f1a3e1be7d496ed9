/**
 * Keeps a stdout or stderr that takes no more from ending the process with a stack trace. Nobody to read on is no error; anything else,
 * such as a full disk, is told once, and is exit code 1.
 */
export function guardOutputStreams() {
  process.stderr.on('error', () => {}) // to be told nowhere
  let isLost = false
  process.stdout.on('error', (/** @type {NodeJS.ErrnoException} */ { code, message }) => {
    if (isLost) return
    isLost = true
    if (code === 'EPIPE') return
    process.stderr.write(`cannot write to stdout (${code ?? message})\n`)
    process.exitCode = 1
  })
}
