/** What a file that people download may be at most, in bytes. @type {[pattern: RegExp, bytes: number][]} */
const budgets = [
  [/^intattn-acl-\d/, 150_000],
  [/^intattn-bench-\d/, 2_500_000], // the real input is most of it
  [/^intattn-acl-linux-x64-/, 1_000_000],
  [/^intattn-acl-(linux|darwin)-arm64-/, 10_000_000],
  [/\.tar\.gz$/, 30_000_000],
]

/** @param {string} file its name */
export const budgetOf = (file) => budgets.find(([pattern]) => pattern.test(file))?.[1] ?? 0
