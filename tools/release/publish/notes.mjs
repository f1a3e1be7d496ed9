import { readFile } from 'node:fs/promises'
import { Problem } from '../../acl/problem.mjs'

/**
 * The text of a release: what the changelog says of the version, and which files stand for others that one might look for.
 * @param {string} changelog path of CHANGELOG.md
 * @param {import('./release.mjs').Release} release
 */
export async function notesOf(changelog, { version, assets }) {
  const more = assets.flatMap(({ name, alsoFor }) =>
    alsoFor.length ? [`\`${name}\` is for ${alsoFor.join(' and ')} too: what was built for them is the same.`] : [],
  )
  return [await sectionOf(changelog, version), ...more].join('\n\n')
}

/**
 * The section below the heading of a version, `## X.Y.Z` or `## [X.Y.Z] - DATE`.
 * @param {string} changelog
 * @param {string} version
 */
async function sectionOf(changelog, version) {
  const text = await readFile(changelog, 'utf8').catch((error) => {
    if (error.code !== 'ENOENT') throw error
    throw new Problem(`missing: ${changelog}`, `the release's text is its section ## ${version}`)
  })
  /** @type {string[][]} */
  const sections = []
  /** @type {string[] | undefined} */
  let section
  let fence = ''
  for (const line of text.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    const mark = line.match(/^ {0,3}(`{3,}|~{3,})/)?.[1]
    if (mark && !fence) fence = mark
    else if (mark?.startsWith(fence) && line.trim() === mark) fence = ''
    const heading = fence || mark ? undefined : line.match(/^(#{1,2})\s+(?:\[v?([^\]]+)\]|v?(\S+))?/)
    if (heading) {
      const named = heading[1] === '##' && [heading[2], heading[3]].includes(version)
      section = named ? [] : undefined
      if (section) sections.push(section)
    } else section?.push(line)
  }
  const [lines] = sections
  if (!lines) throw new Problem(`${changelog}: no section ## ${version}`)
  if (sections.length > 1) throw new Problem(`${changelog}: ${sections.length} sections ## ${version}`)
  const notes = lines.join('\n').trim()
  if (!notes) throw new Problem(`${changelog}: the section ## ${version} is empty`)
  return notes
}
