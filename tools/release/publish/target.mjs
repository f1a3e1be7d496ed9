import { Problem } from '../../acl/problem.mjs'

/**
 * Where a release goes.
 * @typedef {object} Target
 * @property {string} repository OWNER/NAME
 * @property {string} token
 * @property {string | undefined} commit that the tag must point to
 * @property {string} apiUrl
 */

/**
 * What the options leave open is taken from the environment.
 * @param {{ repository?: string, token?: string, commit?: string, apiUrl?: string }} options
 * @param {NodeJS.ProcessEnv} env
 * @returns {Target}
 */
export function targetOf(options, env) {
  const repository = options.repository || env.GITHUB_REPOSITORY
  if (!repository)
    throw new Problem('no repository to publish in', 'name it: --repository OWNER/NAME or GITHUB_REPOSITORY')
  if (!/^[A-Za-z0-9][A-Za-z0-9-]*\/[A-Za-z0-9._-]+$/.test(repository))
    throw new Problem(`repository: expected OWNER/NAME, received '${repository}'`)
  const token = (options.token || env.GITHUB_TOKEN || env.GH_TOKEN)?.trim()
  if (!token)
    throw new Problem(
      'no token for GitHub',
      `expected in GITHUB_TOKEN or GH_TOKEN: a token with contents: write for ${repository}`,
      '(drafts are visible to such a token only: a dry run needs it too)',
    )
  // A header takes nothing else, and the message of fetch would show it.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new Problem('the token for GitHub has characters that no token has')
  const commit = options.commit || env.GITHUB_SHA || undefined
  if (commit !== undefined && !/^[0-9a-f]{40}$/.test(commit))
    throw new Problem(`commit: expected 40 hex digits, received '${commit}'`)
  return {
    repository,
    token,
    commit,
    apiUrl: checkedUrl(options.apiUrl || env.GITHUB_API_URL || 'https://api.github.com'),
  }
}

/** @param {string} address */
function checkedUrl(address) {
  const url = URL.canParse(address) ? new URL(address) : undefined
  const own = /^(127\.0\.0\.1|localhost|\[::1\])$/.test(url?.hostname ?? '')
  if (url?.protocol !== 'https:' && !(url?.protocol === 'http:' && own))
    throw new Problem(`address of the GitHub API: expected https://…, received '${address}'`)
  return address.replace(/\/+$/, '')
}
