import { Problem } from '../../acl/problem.mjs'
import { attachedTo, compare, isWhole, remove, upload, verify } from './github/assets.mjs'
import { createDraft, findPage, undraft } from './github/releases.mjs'
import { checkTag } from './github/tag.mjs'

/**
 * What `prepare` has found or made on GitHub.
 * @typedef {object} Prepared
 * @property {import('./github/releases.mjs').Page | undefined} page undefined in a dry run that found none
 * @property {Set<number>} assets that were found to be what the files are
 */

/**
 * Brings a draft to where only publishing is left: all assets are there, and what GitHub gives back is what the files
 * are. Finds what an earlier run has done and goes on from there.
 * @param {import('./github/client.mjs').GitHub} github
 * @param {import('./release.mjs').Release} release
 * @param {{ notes: string, commit?: string, dryRun: boolean, say: (text: string) => void }} options
 * @returns {Promise<Prepared>}
 */
export async function prepare(github, release, { notes, commit, dryRun, say }) {
  await github.request('GET /repos/{owner}/{repo}')
  const tagged = await checkTag(github, release.tag, commit)
  const found = await findPage(github, release.tag)
  if (!found && dryRun) {
    say(`would create a draft of ${release.tag} at ${tagged}`)
    for (const { name, size } of release.assets) say(`would upload ${name} (${size} bytes)`)
    return { page: undefined, assets: new Set() }
  }
  if (!found) say(`creating a draft of ${release.tag} at ${tagged}`)
  const page = found ?? (await createDraft(github, release, { notes, commit: tagged }))

  const attached = await attachedTo(github, page)
  await compare(github, page, attached, release.assets)
  const whole = new Map(attached.filter(isWhole).map((there) => [there.name, there]))
  const missing = release.assets.filter(({ name }) => !whole.has(name))
  if (!page.draft) {
    if (missing.length)
      throw new Problem(
        `${page.html_url}: is published and lacks ${missing.map(({ name }) => name).join(', ')}`,
        'a published release is not changed: release under another version',
      )
    say(`${page.html_url}: is published and complete`)
    return { page, assets: idsOf(whole) }
  }

  for (const there of attached.filter((one) => !isWhole(one))) {
    say(`${dryRun ? 'would remove' : 'removing'} ${there.name}, whose upload broke off`)
    if (!dryRun) await remove(github, page, there)
  }
  for (const asset of missing) {
    say(`${dryRun ? 'would upload' : 'uploading'} ${asset.name} (${asset.size} bytes)`)
    if (!dryRun) whole.set(asset.name, await upload(github, page, asset, say))
  }
  for (const asset of release.assets) {
    const there = whole.get(asset.name)
    if (there) await verify(github, there, asset)
  }
  say(`${page.html_url}: ${whole.size} of ${release.assets.length} assets are there and are what the files are`)
  return { page, assets: idsOf(whole) }
}

/**
 * Publishes the draft, if it is still what was verified.
 * @param {import('./github/client.mjs').GitHub} github
 * @param {import('./release.mjs').Release} release
 * @param {Prepared} prepared
 * @param {{ notes: string, commit?: string, dryRun: boolean, say: (text: string) => void }} options
 */
export async function makePublic(github, release, { page, assets }, { notes, commit, dryRun, say }) {
  if (page && !page.draft) return
  if (dryRun || !page) {
    say(`would publish the release ${release.tag}${release.prerelease ? ' as a prerelease' : ''}`)
    return
  }
  await checkTag(github, release.tag, commit)
  const now = await findPage(github, release.tag)
  const attached = now?.id === page.id ? await attachedTo(github, now) : []
  if (!now || attached.length !== assets.size || attached.some(({ id }) => !assets.has(id)))
    throw new Problem(
      `${page.html_url}: was changed by someone else since its assets were verified`,
      'when nobody is at it any more, run the same command again',
    )
  const published = now.draft ? await undraft(github, release, now, notes) : now
  say(`${published.html_url}: published`)
}

/** @param {Map<string, import('./github/assets.mjs').Attached>} attached */
const idsOf = (attached) => new Set([...attached.values()].map(({ id }) => id))
