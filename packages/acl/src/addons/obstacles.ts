import { accessSync, constants } from 'node:fs'
import { firstLine } from '../checks/describe.js'
import type { Refusal } from './examine.js'

/** Whether it was the permissions of a file, or those of Node.js's permission model, that were in the way. */
export function isDenied(error: unknown): boolean {
  return error instanceof Error && ['EACCES', 'EPERM', 'ERR_ACCESS_DENIED'].includes(Reflect.get(error, 'code'))
}

/** Why a file did not load. */
export function refusalOfLoading(path: string, error: unknown): Refusal {
  const reason = firstLine(error)
  return { cause: causeOf(path, error, reason), reason }
}

function causeOf(path: string, error: unknown, reason: string): Refusal['cause'] {
  if (error instanceof Error && Reflect.get(error, 'code') === 'ERR_DLOPEN_DISABLED') return 'disabled'
  if (!isReadable(path)) return 'unreadable'
  for (const [cause, words] of obstacles) if (words.test(reason)) return cause
  return 'load'
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch (error) {
    return !isDenied(error)
  }
}

/** Obstacles outside of the file, in the words of glibc and musl. */
const obstacles: readonly (readonly [cause: Refusal['cause'], words: RegExp])[] = [
  ['noexec', /failed to map segment from shared object(: Operation not permitted)?$/],
  ['noexec', /^Error loading shared library .*: Operation not permitted$/],
  ['system', /version `?GLIBC_[\d.]+'? not found|ld-linux[\w.-]*: (cannot open|No such file)|^Error relocating /],
  ['library', /(cannot open shared object file: |^Error loading shared library .*: )No such file/],
]
