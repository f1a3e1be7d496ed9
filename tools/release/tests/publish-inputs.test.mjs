import { rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { publishOnGitHub } from './support/github-publisher.mjs'
import { releaseDirectory, sha256 } from './support/github-release-directory.mjs'
import { startGitHub } from './support/github-server.mjs'

vi.setConfig({ testTimeout: 60_000 })

/** @type {Awaited<ReturnType<typeof releaseDirectory>>} */
let own
/** @type {import('./support/github-server.mjs').GitHubServer} */
let server
beforeEach(async () => {
  own = await releaseDirectory()
  server = await startGitHub()
  server.complete = own.complete
})
afterEach(() => server.close())

const asset = () => /** @type {any} */ (own.release.assets[0])

describe('release.json and its files', () => {
  test.each([
    [
      'a path that leads out',
      () => {
        asset().file = '../CHANGELOG.md'
      },
      /assets\[0\]\.file: expected a path .* received "\.\.\/CHANGELOG\.md"/,
    ],
    [
      'a path in disguise',
      () => {
        asset().file = 'assets/../../CHANGELOG.md'
      },
      /assets\[0\]\.file/,
    ],
    [
      'an absolute path',
      () => {
        asset().file = own.changelog
      },
      /assets\[0\]\.file/,
    ],
    [
      'a name that GitHub would change',
      () => {
        asset().file = 'assets/größe.tar.gz'
      },
      /assets\[0\]\.file/,
    ],
    [
      'names of CPUs that would be markup',
      () => {
        asset().alsoFor = ['apple-m3', '<b>']
      },
      /assets\[0\]\.alsoFor: expected a list of names of CPUs, received \["apple-m3","<b>"\]/,
    ],
    [
      'a ComputeLibrary that is not locked',
      () => {
        asset().locked = false
      },
      /assets\[0\]: .* is built from a ComputeLibrary that is not locked\n.*node tools\/acl\/main\.mjs lock/,
    ],
    [
      'no path',
      () => {
        delete asset().file
      },
      /assets\[0\]\.file: .* received nothing/,
    ],
    [
      'another digest',
      () => {
        asset().sha256 = 'ab'.repeat(32)
      },
      /assets\[0\]\.sha256: assets\/widgets.*: expected abab/,
    ],
    [
      'no digest',
      () => {
        asset().sha256 = 'none'
      },
      /assets\[0\]\.sha256: expected 64 hex digits, received "none"/,
    ],
    [
      'another size',
      () => {
        asset().size += 1
      },
      /assets\[0\]\.size: assets\/widgets.*: expected \d+ bytes, received \d+/,
    ],
    [
      'a size as text',
      () => {
        asset().size = '20007'
      },
      /assets\[0\]\.size: expected a number of bytes/,
    ],
    ['a missing file', () => rmSync(own.place(asset().file)), /assets\[0\]: missing: .*linux-x64.tar.gz/],
    ['a shorter file', () => truncateSync(own.place(asset().file), 5), /assets\[0\]\.size/],
    [
      'a link that leads out',
      () => {
        rmSync(own.place(asset().file))
        symlinkSync(own.changelog, own.place(asset().file))
      },
      /expected a file, received a link/,
    ],
    [
      'a directory',
      () => {
        asset().file = 'assets'
      },
      /expected a file/,
    ],
    ['a name twice', () => own.release.assets.push(asset()), /assets: widgets-v1.2.3-linux-x64.tar.gz is there twice/],
    ['a package twice', () => own.release.npm.push(own.release.npm[0]), /npm: @acme\/widgets-linux-x64 is there twice/],
    [
      'a package of another version',
      () => Object.assign(own.release.npm[0], { version: '1.2.2' }),
      /npm\[0\]\.version: expected "?1\.2\.3"?, received "1\.2\.2"/,
    ],
    ['a package with an odd name', () => Object.assign(own.release.npm[0], { name: '--tag' + ' x' }), /npm\[0\]\.name/],
    ['an entry that is none', () => own.release.assets.unshift(/** @type {any} */ (null)), /assets\[0\]\.file/],
    [
      'no assets',
      () => {
        own.release.assets = []
      },
      /assets: expected a list that is not empty, received \[\]/,
    ],
    [
      'no packages',
      () => {
        delete (/** @type {any} */ (own.release).npm)
      },
      /npm: expected a list that is not empty, received nothing/,
    ],
    [
      'another tag',
      () => {
        own.release.tag = 'v1.2.4'
      },
      /tag: expected v1\.2\.3, received "v1\.2\.4"/,
    ],
    [
      'a tag without v',
      () => {
        own.release.tag = '1.2.3'
      },
      /tag: expected v1\.2\.3/,
    ],
    [
      'a version that is none',
      () => {
        own.release.version = '1.2'
      },
      /version: expected X\.Y\.Z/,
    ],
    [
      'no version',
      () => {
        delete (/** @type {any} */ (own.release).version)
      },
      /version: expected X\.Y\.Z.* received nothing/,
    ],
  ])('%s', async (_, doctor, message) => {
    doctor()
    own.write(own.release)
    const { problem } = await publishOnGitHub(server, own)
    expect(problem?.name).toBe('Problem')
    expect(problem?.message).toMatch(message)
    expect(server.requests).toEqual([])
  })

  test.each(['', '{', 'null', '[]', '"text"', '7'])('release.json is %j', async (content) => {
    writeFileSync(own.place('release.json'), content)
    const { problem } = await publishOnGitHub(server, own)
    expect(problem?.name).toBe('Problem')
    expect(problem?.message).toContain('release.json')
  })

  test('none at all', async () => {
    rmSync(own.place('release.json'))
    const { problem } = await publishOnGitHub(server, own)
    expect(problem?.message).toMatch(/missing: .*release\.json\n.*main\.mjs pack/)
  })

  test('SHA256SUMS that pack has written is taken if it says the same', async () => {
    const file = 'assets/SHA256SUMS'
    const list = (content) => {
      writeFileSync(own.place(file), content)
      own.write({
        ...own.release,
        assets: [{ file, size: content.length, sha256: sha256(content) }, ...own.release.assets],
      })
    }
    list('other\n')
    expect((await publishOnGitHub(server, own)).problem?.message).toMatch(/^SHA256SUMS: expected/)
    list(own.contents.get('SHA256SUMS'))
    expect((await publishOnGitHub(server, own)).problem).toBeUndefined()
  })
})

describe('CHANGELOG.md', () => {
  test.each([
    ['no section', '# Changes\n\n## 1.2.30\n\ntext\n\n### 1.2.3\n\ntext\n', /no section ## 1\.2\.3/],
    ['an empty section', '## 1.2.3\n\n  \n## 1.2.2\n\ntext\n', /the section ## 1\.2\.3 is empty/],
    ['two sections', '## 1.2.3\n\na\n\n## [1.2.3]\n\nb\n', /2 sections ## 1\.2\.3/],
    ['the heading in a fence only', '```\n## 1.2.3\n```\ntext\n', /no section/],
  ])('with %s', async (_, text, message) => {
    writeFileSync(own.changelog, text)
    expect((await publishOnGitHub(server, own)).problem?.message).toMatch(message)
    expect(server.requests).toEqual([])
  })

  test.each([
    ['## 1.2.3\n\ntext\n\n### Part\n\nmore\n', 'text\n\n### Part\n\nmore'],
    ['## v1.2.3 (2025-11-21)\r\n\r\ntext\r\nmore\r\n## 1.2.2\r\nold\r\n', 'text\nmore'],
    ['\uFEFF## [v1.2.3](https://example.com) - today\ntext\n# Part two\nold', 'text'],
    ['## 1.2.3\n~~~\n```\n## 1.2.2\n~~~~\n~~~\ntext', '~~~\n```\n## 1.2.2\n~~~~\n~~~\ntext'],
  ])('%j', async (text, expected) => {
    writeFileSync(own.changelog, text)
    expect((await publishOnGitHub(server, own)).problem).toBeUndefined()
    expect(server.releases[0]?.body).toBe(expected)
  })

  test('is followed by what else a tarball is for', async () => {
    writeFileSync(own.changelog, '## 1.2.3\n\ntext\n')
    asset().alsoFor = ['apple-m3', 'apple-m4']
    own.write(own.release)
    expect((await publishOnGitHub(server, own)).problem).toBeUndefined()
    const more =
      '`widgets-v1.2.3-linux-x64.tar.gz` is for apple-m3 and apple-m4 too: what was built for them is the same.'
    expect(server.releases[0]?.body).toBe(`text\n\n${more}`)
  })

  test('none at all', async () => {
    rmSync(own.changelog)
    expect((await publishOnGitHub(server, own)).problem?.message).toMatch(/missing: .*CHANGELOG\.md/)
  })
})
