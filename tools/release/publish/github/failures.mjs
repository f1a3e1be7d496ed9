import { RequestError } from 'octokit'
import { Problem } from '../../../acl/problem.mjs'
import { again } from '../again.mjs'

/** A request to GitHub that failed. */
export class GitHubProblem extends Problem {
  /**
   * @param {string[]} lines
   * @param {{ answer?: number, unclear?: boolean }} [facts]
   */
  constructor(lines, { answer, unclear = false } = {}) {
    super(...lines)
    /** The status GitHub answered with. */
    this.answer = answer
    /** Whether it may have been carried out all the same. */
    this.unclear = unclear
  }
}

/** An answer that is not what GitHub's API is documented to give. @param {string} what */
export const unexpected = (what) =>
  new GitHubProblem([`GitHub: ${what}, received something else`, again], { unclear: true })

/**
 * Says what a failure of octokit's means for who publishes.
 * @param {unknown} error
 * @param {string} repository
 */
export function explained(error, repository) {
  if (!(error instanceof RequestError)) return error
  const { request, response, status } = error
  const { pathname, search } = new URL(request.url)
  const what = `GitHub: ${request.method} ${pathname}${search}`
  if (!response) return new GitHubProblem([`${what}: no answer: ${error.message}`, again], { unclear: true })
  const said = `${status} ${error.message.split('\n')[0].slice(0, 200)}`
  const facts = { answer: status }

  const free = whenFree(error)
  if (free !== undefined)
    return new GitHubProblem(
      [`${what}: rate limit: ${said}`, `${free ? `from ${free} on, ` : 'later, '}${again}`],
      facts,
    )
  const wanted = `a token with contents: write for ${repository}`
  if (status === 401)
    return new GitHubProblem([`${what}: GitHub does not accept the token: ${said}`, `expected: ${wanted}`], facts)
  if (status === 403)
    return new GitHubProblem(
      [`${what}: not allowed: ${said}`, `the token lacks contents: write; expected: ${wanted}`],
      facts,
    )
  if (status === 404)
    return new GitHubProblem(
      [`${what}: not found`, `expected: a repository ${repository}, and ${wanted}; GitHub shows others neither`],
      facts,
    )
  if (status >= 500 || status === 408)
    return new GitHubProblem([`${what}: ${said}`, again], { ...facts, unclear: true })
  return new GitHubProblem([`${what}: refused: ${said}`], { ...facts, unclear: isAlreadyThere(error) })
}

/**
 * When a rate limit ends, '' for some time; undefined for other failures.
 * @param {RequestError} error
 */
function whenFree({ status, message, response }) {
  if (status !== 403 && status !== 429) return undefined
  const headers = response?.headers ?? {}
  const wait = Number(headers['retry-after'])
  if (/\bsecondary rate\b/i.test(message) || wait > 0)
    return wait > 0 ? new Date(Date.now() + wait * 1000).toISOString() : ''
  if (headers['x-ratelimit-remaining'] === '0') {
    const reset = Number(headers['x-ratelimit-reset'])
    return reset > 0 ? new Date(reset * 1000).toISOString() : ''
  }
  return status === 429 ? '' : undefined
}

/** The answer to a second attempt when the first was carried out. @param {RequestError} error */
function isAlreadyThere({ status, response }) {
  const { errors } = /** @type {{ errors?: { code?: string }[] }} */ (response?.data ?? {})
  return status === 422 && Array.isArray(errors) && errors.some((one) => one?.code === 'already_exists')
}
