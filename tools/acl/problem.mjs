/** Something the user can mend: printed as it is, without a stack trace. */
export class Problem extends Error {
  /** Of the program. */
  exitCode = 1

  /** @param {...string} lines the message, then what can be done about it */
  constructor(...lines) {
    super(lines.filter(Boolean).join('\n'))
    this.name = 'Problem'
  }
}

/** A tool or a source that cannot be had here: who can do without a build tells this from what is wrong. */
export class Unavailable extends Problem {
  /** @override */
  exitCode = 3
}

/** Options that do not go together. */
export class WrongCommand extends Problem {
  /** @override */
  exitCode = 2
}

/**
 * Whether a program says that the disk is full.
 * @param {string} text
 */
export const saysDiskFull = (text) => /No space left on device|Disk quota exceeded/i.test(text)

/**
 * The message of whatever was thrown.
 * @param {unknown} error
 */
export function messageOf(error) {
  if (error instanceof Problem) return error.message
  const { code, path, dest, syscall, message } = /** @type {NodeJS.ErrnoException & { dest?: string }} */ (error)
  const place = dest ?? path
  if (code === 'ENOSPC' || code === 'EDQUOT') return `the disk is full${place ? `: writing ${place}` : ''}`
  if (code === 'EFBIG') return `a file grew beyond what this shell allows (ulimit -f)${place ? `: ${place}` : ''}`
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return `no permission to ${syscall} ${place}`
  return message ?? String(error)
}
