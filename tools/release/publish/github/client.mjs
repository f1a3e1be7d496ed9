import { Octokit } from 'octokit'
import { again } from '../again.mjs'
import { backoff } from '../limits.mjs'
import { wholeAnswers } from './answers.mjs'
import { explained, GitHubProblem, unexpected } from './failures.mjs'

/**
 * GitHub's API for one repository. What fails throws a GitHubProblem.
 *
 * octokit sends a request again whatever its method, which makes a second draft where only the answer to the first was
 * lost. Here it does so with requests that read; those that write go through `settle`. Rate limits are no answer: there
 * octokit waits and sends again, whatever the method.
 * @param {object} options
 * @param {import('../target.mjs').Target} options.target
 * @param {import('../limits.mjs').Limits} options.limits
 * @param {object} [options.throttle] more options of octokit's throttling; as it is, it leaves a second between writes
 * @param {(text: string) => void} options.say
 */
export function connect({ target, limits, throttle, say }) {
  const { repository, token, apiUrl } = target
  const { retries, second, timeout, speed, patience } = limits
  const [owner, repo] = repository.split('/')
  const silent = () => {}
  /** @type {(kind: string) => (wait: number, options: any, octokit: unknown, count: number) => boolean} */
  const waits = (kind) => (wait, _options, _octokit, count) => {
    if (count >= retries || wait > patience) return false
    say(`GitHub: ${kind}: waiting ${wait} s`)
    return true
  }
  const octokit = new Octokit({
    auth: token,
    baseUrl: apiUrl,
    userAgent: 'intattn-release',
    log: { debug: silent, info: silent, warn: silent, error: silent },
    request: { fetch: wholeAnswers(timeout) },
    retry: { retries, retryAfterBaseValue: second, doNotRetry: [400, 401, 403, 404, 409, 410, 422, 429, 451] },
    throttle: {
      id: repository,
      retryAfterBaseValue: second,
      onRateLimit: waits('rate limit'),
      onSecondaryRateLimit: waits('secondary rate limit'),
      ...throttle,
    },
  })
  octokit.hook.before('request', (options) => {
    // As it comes, this object is the same for all requests. Given a number of retries other than 0, octokit tries
    // again what is not to be tried again.
    options.request = { ...options.request, ...(options.method === 'GET' ? {} : { retries: 0 }) }
    options.headers = { ...options.headers, 'x-github-api-version': '2022-11-28' }
  })
  octokit.hook.error('request', (error) => {
    throw explained(error, repository)
  })
  /** @param {number} size bytes */
  const transfer = (size) => ({ fetch: wholeAnswers(timeout + Math.ceil(size / speed)) })

  return {
    repository,

    /**
     * @param {string} route
     * @param {Record<string, unknown>} [parameters]
     * @returns {Promise<any>}
     */
    async request(route, parameters) {
      const { data, status } = await octokit.request(route, { owner, repo, ...parameters })
      if (status !== 204 && (typeof data !== 'object' || data === null))
        throw unexpected(`${route}: expected an object`)
      return data
    },

    /**
     * All pages of a list. octokit's own pagination takes null, an empty answer and status 409 for the end of the list.
     * @param {string} route
     * @param {Record<string, unknown>} [parameters]
     */
    async list(route, parameters) {
      /** @type {any[]} */
      const entries = []
      for (let page = 1; ; page += 1) {
        const { data, headers } = await octokit.request(route, { owner, repo, per_page: 100, page, ...parameters })
        if (!Array.isArray(data)) throw unexpected(`${route}: expected a list`)
        entries.push(...data)
        if (data.length === 0 || !/rel="next"/.test(headers.link ?? '')) return entries
      }
    },

    /**
     * @param {string} address the upload_url of a release
     * @param {string} name
     * @param {Buffer} data
     * @returns {Promise<any>}
     */
    async upload(address, name, data) {
      const headers = { 'content-type': 'application/octet-stream' }
      const request = transfer(data.length)
      const answer = await octokit.request({ method: 'POST', url: address, name, data, headers, request })
      return answer.data
    },

    /**
     * @param {number} id of an asset
     * @param {number} size
     */
    async download(id, size) {
      const { data } = await octokit.request('GET /repos/{owner}/{repo}/releases/assets/{id}', {
        ...{ owner, repo, id },
        headers: { accept: 'application/octet-stream' },
        request: { ...transfer(size), parseSuccessResponseBody: false },
      })
      return Buffer.from(await new Response(data).arrayBuffer())
    },

    /**
     * Does something that must not be done twice: where it is unclear whether a request was carried out, looks before
     * it is sent again.
     * @template T
     * @param {string} what for the message
     * @param {object} steps
     * @param {() => Promise<T | undefined>} steps.send the outcome, or undefined if there is none
     * @param {() => Promise<T | undefined>} steps.look the outcome of an earlier request, or undefined
     * @returns {Promise<T>}
     */
    async settle(what, { send, look }) {
      for (let attempt = 1; ; attempt += 1) {
        /** @type {unknown} */
        let failure
        try {
          const outcome = await send()
          if (outcome !== undefined) return outcome
        } catch (error) {
          if (!(error instanceof GitHubProblem && error.unclear)) throw error
          failure = error
        }
        await backoff(limits, attempt)
        const outcome = await look()
        if (outcome !== undefined) return outcome
        if (attempt > retries)
          throw failure ?? new GitHubProblem([`GitHub: ${what}: without effect, ${attempt} times`, again])
      }
    },
  }
}

/** @typedef {ReturnType<typeof connect>} GitHub */
