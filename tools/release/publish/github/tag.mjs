import { Problem } from '../../../acl/problem.mjs'
import { GitHubProblem, unexpected } from './failures.mjs'

/**
 * Looks whether the repository has a tag, and whether it is of the commit that is to be released.
 * @param {import('./client.mjs').GitHub} github
 * @param {string} tag
 * @param {string | undefined} commit
 */
export async function checkTag(github, tag, commit) {
  const found = await commitOf(github, tag)
  if (commit !== undefined && found !== commit)
    throw new Problem(
      `tag ${tag}: expected at commit ${commit}, received ${found}`,
      'check out the tag and pack again, or raise the version; a tag that was pushed should not be moved',
    )
  return found
}

/** @param {import('./client.mjs').GitHub} github @param {string} tag */
async function commitOf(github, tag) {
  let { object } = await github
    .request('GET /repos/{owner}/{repo}/git/ref/{ref}', { ref: `tags/${tag}` })
    .catch((error) => {
      if (!(error instanceof GitHubProblem && error.answer === 404)) throw error
      throw new Problem(`${github.repository} has no tag ${tag}`, `push it: git push origin ${tag}`)
    })
  // An annotated tag points to an object of its own, a tag of a tag to the next one.
  for (let depth = 0; object?.type === 'tag' && depth < 10; depth += 1)
    ({ object } = await github.request('GET /repos/{owner}/{repo}/git/tags/{sha}', { sha: object.sha }))
  if (object?.type === 'commit' && typeof object.sha === 'string') return object.sha
  if (typeof object?.type !== 'string') throw unexpected(`tag ${tag}: expected the object that it points to`)
  throw new Problem(`tag ${tag}: expected to point to a commit, received a ${object.type}`)
}
