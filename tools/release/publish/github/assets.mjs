import { digestOf } from '../../../acl/digest.mjs'
import { Problem } from '../../../acl/problem.mjs'
import { GitHubProblem, unexpected } from './failures.mjs'

/**
 * An asset as GitHub has it. Older ones have no digest; after an upload that broke off the state is not `uploaded`.
 * @typedef {object} Attached
 * @property {number} id
 * @property {string} name
 * @property {number} size
 * @property {string} state
 * @property {string | null} [digest] sha256:…
 */

/**
 * @param {import('./client.mjs').GitHub} github
 * @param {import('./releases.mjs').Page} page
 * @returns {Promise<Attached[]>}
 */
export async function attachedTo(github, page) {
  const listed = await github.list('GET /repos/{owner}/{repo}/releases/{release_id}/assets', { release_id: page.id })
  return listed.map(checked)
}

/** @param {Attached} asset */
export const isWhole = ({ state }) => state === 'uploaded'

/**
 * Compares what is attached with what is to be; nothing of it is ever replaced.
 * @param {import('./client.mjs').GitHub} github
 * @param {import('./releases.mjs').Page} page
 * @param {Attached[]} attached
 * @param {import('../release.mjs').Asset[]} wanted
 */
export async function compare(github, page, attached, wanted) {
  for (const there of attached) {
    const asset = wanted.find(({ name }) => name === there.name)
    if (!asset) throw new Problem(`${page.html_url}: has ${there.name}, which is no part of this release`)
    if (!isWhole(there)) continue
    const received = digestIn(there) ?? (await digestOfDownload(github, there, asset))
    if (there.size !== asset.size || received !== asset.sha256) throw another(page, asset, there, received)
  }
}

/**
 * @param {import('./releases.mjs').Page} page
 * @param {import('../release.mjs').Asset} asset
 * @param {Attached} there
 * @param {string} received digest
 */
const another = (page, asset, there, received) =>
  new Problem(
    `${page.html_url}: has another ${asset.name}`,
    `expected sha256 ${asset.sha256}, ${asset.size} bytes`,
    `received sha256 ${received}, ${there.size} bytes`,
    page.draft
      ? 'it is not overwritten: if the draft can go, delete it on GitHub and run the same command again'
      : 'a published release is not changed: release under another version',
  )

/**
 * Uploads what is not there. An upload that arrived damaged goes, and is sent again.
 * @param {import('./client.mjs').GitHub} github
 * @param {import('./releases.mjs').Page} page
 * @param {import('../release.mjs').Asset} asset
 * @param {(text: string) => void} say
 * @returns {Promise<Attached>}
 */
export async function upload(github, page, asset, say) {
  const content = await asset.read()
  /** @param {Attached} there */
  const isIntact = (there) =>
    isWhole(there) && there.size === asset.size && (digestIn(there) ?? asset.sha256) === asset.sha256
  /** @param {Attached} there */
  const removeDamaged = async (there) => {
    say(`${asset.name}: arrived damaged (${there.state}, ${there.size} of ${asset.size} bytes): once more`)
    await remove(github, page, there)
    return undefined
  }
  return github.settle(`uploading ${asset.name}`, {
    send: async () => {
      const there = checked(await github.upload(page.upload_url, asset.name, content))
      return isIntact(there) ? there : removeDamaged(there)
    },
    look: async () => {
      const there = (await attachedTo(github, page)).find(({ name }) => name === asset.name)
      if (!there || isIntact(there)) return there
      if (!isWhole(there)) return removeDamaged(there)
      // The beginning of the file is what is left of this upload; anything else is someone else's.
      const received = digestIn(there) ?? digestOf(await github.download(there.id, there.size))
      if (received !== digestOf(content.subarray(0, there.size))) throw another(page, asset, there, received)
      return removeDamaged(there)
    },
  })
}

/**
 * @param {import('./client.mjs').GitHub} github
 * @param {import('./releases.mjs').Page} page
 * @param {Attached} there
 */
export function remove(github, page, { id, name }) {
  return github.settle(`removing ${name}`, {
    send: () =>
      github.request('DELETE /repos/{owner}/{repo}/releases/assets/{id}', { id }).then(
        () => true,
        (error) => {
          if (!(error instanceof GitHubProblem && error.answer === 404)) throw error
          return undefined
        },
      ),
    look: async () => ((await attachedTo(github, page)).some((asset) => asset.id === id) ? undefined : true),
  })
}

/**
 * Downloads an asset and compares it with the file.
 * @param {import('./client.mjs').GitHub} github
 * @param {Attached} there
 * @param {import('../release.mjs').Asset} asset
 */
export async function verify(github, there, asset) {
  const received = await digestOfDownload(github, there, asset)
  if (received !== asset.sha256)
    throw new Problem(
      `${asset.name}: what GitHub gives back is not what was uploaded`,
      `expected sha256 ${asset.sha256}, received ${received}`,
      'run the same command again; if it says so again, delete the draft on GitHub first',
    )
}

/**
 * The digest of what GitHub gives back; where it is not the file's, of what it gives back the second time.
 * @param {import('./client.mjs').GitHub} github
 * @param {Attached} there
 * @param {import('../release.mjs').Asset} asset
 */
async function digestOfDownload(github, { id, size }, { sha256 }) {
  const digest = digestOf(await github.download(id, size))
  return digest === sha256 ? digest : digestOf(await github.download(id, size))
}

/** @param {Attached} asset */
const digestIn = ({ digest }) => digest?.match(/^sha256:([0-9a-f]{64})$/)?.[1]

/** @param {any} asset @returns {Attached} */
function checked(asset) {
  const { id, name, size, state } = asset ?? {}
  if (!Number.isInteger(id) || typeof name !== 'string' || !Number.isInteger(size) || typeof state !== 'string')
    throw unexpected('expected an asset with id, name, size and state')
  return asset
}
