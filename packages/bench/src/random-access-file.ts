import { closeSync, constants, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs'

/** What one call reads at most; the system's own limit is 2 GiB. */
const MAX_READ_BYTES = 2 ** 30

/** Bytes that can be read from any place. */
export interface ByteSource {
  readonly byteLength: number
  /**
   * Fills `into` from `position` on.
   *
   * @throws Error with code `EIO` when that reaches beyond the end
   */
  read(into: Uint8Array, position: number): void
}

/** A file that is no file, as an error of the system. */
function requireRegular(stats: Stats): void {
  if (stats.isFile()) return
  if (stats.isDirectory()) throw Object.assign(new Error('a directory'), { code: 'EISDIR' })
  const kind = stats.isFIFO() ? 'a pipe' : stats.isSocket() ? 'a socket' : 'a device'
  throw Object.assign(new Error(kind), { code: `${kind}, not a file` })
}

/**
 * Opens a regular file for as long as `use` lasts. Pipes and devices, which have no end or wait for ever, are refused unopened.
 *
 * @throws errors of the system, with `code`
 */
export function withFile<T>(path: string, use: (file: ByteSource) => T): T {
  requireRegular(statSync(path))
  // Should a pipe have taken the file's place meanwhile, opening it must not wait for a writer.
  const descriptor = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    const stats = fstatSync(descriptor)
    requireRegular(stats)
    return use({
      byteLength: stats.size,
      read(into, position) {
        for (let done = 0; done < into.byteLength; ) {
          const count = readSync(descriptor, into, {
            offset: done,
            length: Math.min(MAX_READ_BYTES, into.byteLength - done),
            position: position + done,
          })
          if (count === 0) throw Object.assign(new Error('the file became shorter'), { code: 'EIO' })
          done += count
        }
      },
    })
  } finally {
    closeSync(descriptor)
  }
}
