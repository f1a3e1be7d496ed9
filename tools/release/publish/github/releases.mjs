import { Problem } from '../../../acl/problem.mjs'
import { unexpected } from './failures.mjs'

/**
 * A release on GitHub.
 * @typedef {object} Page
 * @property {number} id
 * @property {string} html_url
 * @property {string} upload_url
 * @property {boolean} draft
 */

/**
 * The release of a tag. GitHub shows drafts in the list only.
 * @param {import('./client.mjs').GitHub} github
 * @param {string} tag
 * @returns {Promise<Page | undefined>}
 */
export async function findPage(github, tag) {
  const pages = await github.list('GET /repos/{owner}/{repo}/releases')
  const found = pages.filter((page) => page?.tag_name === tag).map(checked)
  if (found.length > 1)
    throw new Problem(
      `${github.repository} has ${found.length} releases of ${tag}:`,
      ...found.map(({ draft, html_url: address }) => `  ${draft ? 'draft' : 'published'} ${address}`),
      'delete the drafts that are not wanted, and run the same command again',
    )
  return found[0]
}

/**
 * @param {import('./client.mjs').GitHub} github
 * @param {import('../release.mjs').Release} release
 * @param {{ notes: string, commit: string }} facts
 * @returns {Promise<Page>}
 */
export function createDraft(github, { tag, prerelease }, { notes, commit }) {
  const fields = { tag_name: tag, target_commitish: commit, name: tag, body: notes, prerelease, draft: true }
  return github.settle(`the draft of ${tag}`, {
    send: async () => checked(await github.request('POST /repos/{owner}/{repo}/releases', fields)),
    look: () => findPage(github, tag),
  })
}

/**
 * @param {import('./client.mjs').GitHub} github
 * @param {import('../release.mjs').Release} release
 * @param {Page} page
 * @param {string} notes
 */
export async function undraft(github, { tag, prerelease }, { id }, notes) {
  const route = '/repos/{owner}/{repo}/releases/{release_id}'
  const fields = { tag_name: tag, name: tag, body: notes, prerelease, make_latest: 'legacy', draft: false }
  const published = (page) => (checked(page).draft ? undefined : /** @type {Page} */ (page))
  return github.settle(`publishing ${tag}`, {
    send: async () => published(await github.request(`PATCH ${route}`, { release_id: id, ...fields })),
    look: async () => published(await github.request(`GET ${route}`, { release_id: id })),
  })
}

/** @param {any} page @returns {Page} */
function checked(page) {
  const { id, draft, html_url: address, upload_url: upload } = page ?? {}
  if (!Number.isInteger(id) || typeof draft !== 'boolean' || typeof address !== 'string' || typeof upload !== 'string')
    throw unexpected('expected a release with id, draft, html_url and upload_url')
  return page
}
