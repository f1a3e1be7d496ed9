/** What the caller asked for cannot be done: one line on stderr, exit code 2. */
export class UsageError extends Error {
  /**
   * @param argument the flag as typed, `--L`
   * @param expected what would be accepted
   * @param received what came instead
   */
  constructor(
    readonly argument: string,
    readonly expected: string,
    readonly received: string,
  ) {
    super(`argument ${argument}: expected ${expected}, received ${received}`)
    this.name = 'UsageError'
  }
}
