import { readFile } from 'node:fs/promises'
import { Problem } from '../../acl/problem.mjs'

/**
 * What a changelog says of a version: the section below its heading, `## X.Y.Z` or `## [X.Y.Z] - DATE`.
 * @param {string} changelog path of CHANGELOG.md
 * @param {string} version
 */
export async function notesOf(changelog, version) {
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
