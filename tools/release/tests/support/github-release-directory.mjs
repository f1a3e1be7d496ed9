import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { create } from 'tar'
import { afterAll } from 'vitest'

/** @type {string[]} */
const made = []
afterAll(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true })
})

export function temporary() {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'intattn-publish-test-'))
  made.push(directory)
  return directory
}

/** @param {string | Buffer} content */
export const sha256 = (content) => createHash('sha256').update(content).digest('hex')

/** Bytes that do not repeat and are the same each time. @param {number} length @param {number} seed */
function bytes(length, seed) {
  let state = seed
  return Buffer.from(
    Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state >>> 24
    }),
  )
}

/** Release notes as no test of ours would think of: quotes, a fence with a heading in it, several alphabets. */
export const notes = 'Größer, schöner – «快» 🚀\n\n```md\n## 1.2.3\n```\n\n"quoted" <b>&amp;</b> \\ %0A `$(x)`'

/**
 * What `pack` leaves, small: two tarballs for GitHub, two platform packages, the package that depends on them, and one that uses it.
 * @param {{ version?: string, needs?: string }} [options] `needs`: the version of the package that is used
 */
export async function releaseDirectory({ version = '1.2.3', needs = version } = {}) {
  const root = temporary()
  const directory = path.join(root, 'release')
  const place = (name) => path.join(directory, name)
  mkdirSync(place('npm'), { recursive: true })
  mkdirSync(place('assets'))
  const changelog = path.join(root, 'CHANGELOG.md')
  writeFileSync(
    changelog,
    `# Changes\n\n## Unreleased\n\nsoon\n\n## [${version}] - 2025-11-21\n\n${notes}\n\n## 1.0.0\n\nold\n`,
  )

  const entry = (file) => {
    const content = readFileSync(place(file))
    return { file, size: content.length, sha256: sha256(content) }
  }
  const pack = async (name, more) => {
    const source = path.join(root, name)
    mkdirSync(path.join(source, 'package'), { recursive: true })
    const manifest = { name: `@acme/${name}`, version, ...more }
    writeFileSync(path.join(source, 'package/package.json'), JSON.stringify(manifest))
    const file = `npm/acme-${name}-${version}.tgz`
    await create({ cwd: source, gzip: true, file: place(file), portable: true, mtime: new Date(0) }, ['package'])
    return { name: manifest.name, version, ...entry(file) }
  }
  const leaves = [
    await pack('widgets-linux-x64', { os: ['linux'] }),
    await pack('widgets-darwin-arm64', { os: ['darwin'] }),
  ]
  const optionalDependencies = Object.fromEntries(leaves.map(({ name }) => [name, version]))
  const widgets = await pack('widgets', { optionalDependencies })
  const npm = [...leaves, widgets, await pack('gadget', { dependencies: { [widgets.name]: needs, lodash: '4.17.21' } })]

  const assets = ['linux-x64', 'darwin-arm64'].map((platform, i) => {
    const file = `assets/widgets-v${version}-${platform}.tar.gz`
    writeFileSync(place(file), bytes(20_000 * (i + 1) + 7, i + 1))
    return entry(file)
  })
  const release = { version, tag: `v${version}`, npm, assets }
  const write = (content) => writeFileSync(place('release.json'), JSON.stringify(content))
  write(release)
  const contents = new Map(assets.map(({ file }) => [path.basename(file), readFileSync(place(file))]))
  const sums = [...contents.keys()].sort().map((name) => `${sha256(contents.get(name))}  ${name}\n`)
  contents.set('SHA256SUMS', Buffer.from(sums.join('')))
  return {
    directory,
    changelog,
    release,
    write,
    place,
    /** @param {string} file */
    read: (file) => readFileSync(place(file)),
    /** What must be attached: name to content. */
    contents,
    /** What must be attached: name to sha256. */
    complete: new Map([...contents].map(([name, content]) => [name, sha256(content)])),
  }
}
