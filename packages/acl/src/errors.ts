import { oneLine } from './checks/describe.js'
import type { EngineName } from './types.js'

/**
 * What went wrong, for programs:
 *
 * - `INVALID_ARGUMENT`: a value has the wrong type or lies outside its range
 * - `UNKNOWN_OPTION`: a name that does not exist, or that the chosen pipeline, table or engine does not have
 * - `SHAPE_MISMATCH`: dims, lengths and options do not agree with one another
 * - `NON_FINITE`: a tensor holds NaN, an infinity, or a value that a number format on the way cannot hold
 * - `UNAVAILABLE`: the engine or instruction set cannot run here
 * - `BUSY`: `runSync` while an asynchronous run of the same object is under way
 * - `DISPOSED`: use after `dispose`
 * - `BUFFER_CHANGED`: an array was detached or resized while a run needed it
 * - `OUT_OF_MEMORY`: a result or the working memory could not be allocated
 * - `ENGINE_FAILED`: the engine, or the library behind it, refused or failed; `received` has its words
 */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'UNKNOWN_OPTION'
  | 'SHAPE_MISMATCH'
  | 'NON_FINITE'
  | 'UNAVAILABLE'
  | 'BUSY'
  | 'DISPOSED'
  | 'BUFFER_CHANGED'
  | 'OUT_OF_MEMORY'
  | 'ENGINE_FAILED'

/** What an {@link IntAttnError} says, in parts. */
export interface ErrorDetails {
  code: ErrorCode
  /** The option, input or environment variable at fault, as a path: `heads`, `quantization.key`, `key.dims[2]`. */
  argument: string
  expected: string
  received: string
}

/** Every error this package raises on purpose. The message is one line: `argument: expected …, received …`. */
export class IntAttnError extends Error implements ErrorDetails {
  override readonly name: string = 'IntAttnError'
  readonly code: ErrorCode
  readonly argument: string
  readonly expected: string
  readonly received: string

  constructor({ code, argument, expected, received }: ErrorDetails, options?: ErrorOptions) {
    super(`${argument}: expected ${expected}, received ${received}`, options)
    this.code = code
    this.argument = argument
    this.expected = expected
    this.received = received
  }
}

/** What a {@link LoaderError} says, in parts. */
export interface LoaderErrorDetails {
  engine: EngineName
  /** As in `process.platform` and `process.arch`: `linux-x64`. */
  platform: string
  /** Features of this CPU that instruction sets here ask for; empty where the system does not tell. */
  detectedFeatures: readonly string[]
  /** Features without which the engine does not start. */
  requiredFeatures: readonly string[]
  /** Every file, folder or package tried, in this order, with what became of it. */
  tried: readonly { path: string; reason: string }[]
  /** What to do about it, likeliest first. */
  remedies: readonly string[]
}

/** What was tried, on one line. */
export const inWords = (tried: LoaderErrorDetails['tried']): string =>
  oneLine(tried.map(({ path, reason }) => `${path} (${reason})`).join('; '))

/** An engine could not be loaded. */
export class LoaderError extends IntAttnError implements LoaderErrorDetails {
  override readonly name: string = 'LoaderError'
  readonly engine: EngineName
  readonly platform: string
  readonly detectedFeatures: readonly string[]
  readonly requiredFeatures: readonly string[]
  readonly tried: readonly { path: string; reason: string }[]
  readonly remedies: readonly string[]

  constructor(details: LoaderErrorDetails, options?: ErrorOptions) {
    const tried = inWords(details.tried)
    super(
      {
        code: 'UNAVAILABLE',
        argument: 'engine',
        expected: `engine '${details.engine}' to load on ${details.platform}`,
        received: oneLine(`no loadable addon: ${tried}. Remedies: ${details.remedies.join('; or ')}`),
      },
      options,
    )
    this.engine = details.engine
    this.platform = details.platform
    this.detectedFeatures = details.detectedFeatures
    this.requiredFeatures = details.requiredFeatures
    this.tried = details.tried
    this.remedies = details.remedies
  }
}
