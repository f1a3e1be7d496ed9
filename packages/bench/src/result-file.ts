import { closeSync, constants, fstatSync, ftruncateSync, openSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { UsageError } from './usage-error.js'

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? 'unknown error'

const open = (path: string, flags: number) => openSync(path, constants.O_WRONLY | flags)

/** A file for results, found to take them. */
export interface ResultFile {
  /**
   * Replaces the content; mode, owner and hard links stay, symbolic links are followed. Pipes and devices just take the text.
   *
   * @throws Error when the file cannot be written after all; a regular one is empty then
   */
  write(text: string): void
}

/**
 * Opens a file for writing, the only way to know that it can be written; a pipe waits for its reader here. What a regular file
 * holds stays until there are results, and where there is none, none is left: the work in between may be interrupted.
 *
 * @throws UsageError
 */
export function openResultFile(path: string): ResultFile {
  let stream: number | undefined
  try {
    stream = tryOpen(path)
  } catch (error) {
    throw new UsageError('--json', 'a file that can be written', `'${path}' (${codeOf(error)})`)
  }
  return {
    write(text) {
      try {
        if (stream === undefined) replaceContent(open(path, constants.O_CREAT), text)
        else writeAndClose(stream, text)
      } catch (error) {
        throw new Error(`cannot write '${path}' (${codeOf(error)})`, { cause: error })
      }
    },
  }
}

/** @returns what has to stay open, because opening it again would be something else: a pipe, a device */
function tryOpen(path: string): number | undefined {
  let descriptor: number
  try {
    descriptor = open(path, 0)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    closeSync(open(path, constants.O_CREAT))
    // The path may be a link to where the file is now.
    rmSync(realpathSync(path))
    return undefined
  }
  if (!fstatSync(descriptor).isFile()) return descriptor
  closeSync(descriptor)
  return undefined
}

function replaceContent(descriptor: number, text: string): void {
  try {
    ftruncateSync(descriptor)
    try {
      writeFileSync(descriptor, text)
    } catch (error) {
      // Half of the results would look like results.
      ftruncateSync(descriptor)
      throw error
    }
  } finally {
    closeSync(descriptor)
  }
}

function writeAndClose(descriptor: number, text: string): void {
  try {
    writeFileSync(descriptor, text)
  } finally {
    closeSync(descriptor)
  }
}
