import path from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { connect } from '../publish/github/client.mjs'
import { makePublic, prepare } from '../publish/github.mjs'
import { defaultLimits } from '../publish/limits.mjs'
import { readRelease } from '../publish/release.mjs'
import { publishOnGitHub, throttle, waits } from './support/github-publisher.mjs'
import { notes, releaseDirectory, sha256 } from './support/github-release-directory.mjs'
import { startGitHub } from './support/github-server.mjs'

vi.setConfig({ testTimeout: 60_000 })

/** @typedef {Awaited<ReturnType<typeof releaseDirectory>>} Made */
/** @type {Made} */
let made
/** @type {import('./support/github-server.mjs').GitHubServer} */
let server
beforeAll(async () => {
  made = await releaseDirectory()
})
beforeEach(async () => {
  server = await startGitHub()
  server.complete = made.complete
})
afterEach(() => {
  server.close()
  expect(server.violations).toEqual([])
})

const writesOf = () => server.requests.filter((name) => ['create', 'upload', 'delete', 'publish'].includes(name))
const first = 'widgets-v1.2.3-linux-x64.tar.gz'
/** @param {Partial<import('./support/github-server.mjs').StoredRelease>} [fields] */
const release = (fields) => server.addRelease({ tag_name: 'v1.2.3', ...fields })
/** @param {import('./support/github-server.mjs').StoredRelease} to @param {string[]} [names] */
function attach(to, names = [...made.contents.keys()]) {
  for (const name of names) server.addAsset(to, name, made.contents.get(name) ?? Buffer.alloc(0))
  return to
}

describe('what is not right from the start', () => {
  test.each([
    ['no token', {}, /no token.*\n.*GITHUB_TOKEN or GH_TOKEN.*contents: write for acme\/widgets/],
    ['a token of blanks', { GITHUB_TOKEN: ' \n' }, /no token/],
    ['a token in two lines', { GITHUB_TOKEN: 'a\nb' }, /characters that no token has/],
    ['another token', { GH_TOKEN: 'other' }, /does not accept the token: 401/],
  ])('%s', async (_, env, message) => {
    const { problem } = await publishOnGitHub(server, made, { env })
    expect(problem?.message).toMatch(message)
    expect(problem?.message).not.toMatch(/other|\ba\nb/)
    expect(writesOf()).toEqual([])
  })

  test('GH_TOKEN is taken where GITHUB_TOKEN is not set, with the line end of a file', async () => {
    const { problem } = await publishOnGitHub(server, made, { env: { GH_TOKEN: `${server.token}\n` } })
    expect(problem).toBeUndefined()
  })

  test.each([
    ['repository', { repository: 'widgets' }, /repository: expected OWNER\/NAME, received 'widgets'/],
    ['repository', { repository: '../..' }, /repository: expected OWNER\/NAME/],
    ['repository', { repository: '' }, /--repository OWNER\/NAME or GITHUB_REPOSITORY/],
    ['repository', { repository: 'acme/gadgets' }, /\/repos\/acme\/gadgets: not found/],
    ['commit', { commit: 'main' }, /commit: expected 40 hex digits, received 'main'/],
    ['address', { apiUrl: 'http://api.example.com' }, /expected https/],
    ['address', { apiUrl: 'here' }, /expected https/],
  ])('%s %j', async (_, wrong, message) => {
    const { problem } = await publishOnGitHub({ ...server, ...wrong }, made)
    expect(problem?.message).toMatch(message)
  })

  test('a server that is not there', async () => {
    server.close()
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toMatch(/no answer: .*\n.*run the same command again/)
  })
})

describe('the tag', () => {
  test('a lightweight one, and one of a tag', async () => {
    server.refs['tags/v1.2.3'] = { type: 'commit', sha: server.commit }
    expect((await publishOnGitHub(server, made, { dryRun: true })).problem).toBeUndefined()
    server.refs['tags/v1.2.3'] = { type: 'tag', sha: 'b2'.repeat(20) }
    server.tags['b2'.repeat(20)] = { type: 'tag', sha: 'a1'.repeat(20) }
    expect((await publishOnGitHub(server, made, { dryRun: true })).problem).toBeUndefined()
  })

  test('a missing one', async () => {
    server.refs = { 'tags/v1.2.3-rc.1': { type: 'commit', sha: server.commit } }
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toBe('acme/widgets has no tag v1.2.3\npush it: git push origin v1.2.3')
  })

  test('one of another commit', async () => {
    const other = 'dd'.repeat(20)
    server.tags['a1'.repeat(20)] = { type: 'commit', sha: other }
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toContain(`tag v1.2.3: expected at commit ${server.commit}, received ${other}`)
    expect(writesOf()).toEqual([])
  })

  test('without a commit to compare with, any', async () => {
    server.tags['a1'.repeat(20)] = { type: 'commit', sha: 'dd'.repeat(20) }
    const { problem } = await publishOnGitHub({ ...server, commit: '' }, made)
    expect(problem).toBeUndefined()
    expect(server.releases).toMatchObject([{ draft: false, target_commitish: 'dd'.repeat(20) }])
  })

  test.each(['tag', 'tree'])('one that leads to a %s', async (type) => {
    server.tags['a1'.repeat(20)] = { type, sha: 'a1'.repeat(20) }
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toBe(`tag v1.2.3: expected to point to a commit, received a ${type}`)
  })
})

describe('what is there already', () => {
  test.each([true, false])('another asset in a draft, with a digest: %s', async (digest) => {
    const draft = attach(release())
    const other = Buffer.from(made.contents.get(first) ?? '')
    other[100] ^= 1
    draft.assets = draft.assets.filter(({ name }) => name !== first)
    server.addAsset(draft, first, other, { digest })
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toContain(`has another ${first}`)
    expect(problem?.message).toContain(`expected sha256 ${made.complete.get(first)}`)
    expect(problem?.message).toContain(`received sha256 ${sha256(other)}`)
    expect(writesOf()).toEqual([])
  })

  test('another asset is found before anything is uploaded', async () => {
    server.addAsset(release(), 'SHA256SUMS', Buffer.from('x'), { digest: false })
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toContain(`received sha256 ${sha256('x')}, 1 bytes`)
    expect(writesOf()).toEqual([])
  })

  test('an asset that is no part of the release', async () => {
    server.addAsset(attach(release()), 'notes.txt', Buffer.from('x'))
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toContain('has notes.txt, which is no part of this release')
    expect(writesOf()).toEqual([])
  })

  test.each(['starter', 'open'])('an asset in state %s is deleted and uploaded again', async (state) => {
    const draft = attach(release(), ['SHA256SUMS'])
    const kept = draft.assets[0]?.id
    server.addAsset(draft, first, Buffer.from('half'), { state })
    const { problem, said } = await publishOnGitHub(server, made)
    expect(problem).toBeUndefined()
    expect(said).toContain(`removing ${first}, whose upload broke off`)
    expect(writesOf()).toEqual(['delete', 'upload', 'upload', 'publish'])
    expect(draft.assets.map(({ id }) => id)).toContain(kept)
  })

  test('two drafts of the tag', async () => {
    const ids = [release().id, attach(release()).id]
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toContain('acme/widgets has 2 releases of v1.2.3:')
    for (const id of ids) expect(problem?.message).toMatch(new RegExp(`draft http.*/releases/${id}\\n`))
    expect(writesOf()).toEqual([])
  })

  test('a published release that is complete: nothing is done', async () => {
    attach(release({ draft: false }))
    const { problem, said } = await publishOnGitHub(server, made)
    expect(problem).toBeUndefined()
    expect(said).toMatch(/is published and complete$/)
    expect(writesOf()).toEqual([])
  })

  test.each([
    [
      'lacks an asset',
      ['SHA256SUMS'],
      /is published and lacks widgets-v1.2.3-linux-x64.tar.gz, widgets-v1.2.3-darwin-arm64/,
    ],
    ['has none', [], /is published and lacks/],
  ])('a published release that %s is left as it is', async (_, names, message) => {
    attach(release({ draft: false }), names)
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toMatch(message)
    expect(problem?.message).toMatch(/release under another version/)
    expect(writesOf()).toEqual([])
  })

  test('a published release with another asset is left as it is', async () => {
    const published = attach(release({ draft: false }), ['SHA256SUMS'])
    server.addAsset(published, first, Buffer.from('other'))
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toMatch(
      /has another widgets-v1.2.3-linux-x64.tar.gz\n.*\n.*\n.*release under another version/,
    )
    expect(writesOf()).toEqual([])
  })

  test('a draft behind more than a hundred other releases', async () => {
    server.close()
    server = await startGitHub({ pageLimit: 100 })
    server.complete = made.complete
    const draft = attach(release(), [first])
    for (let i = 0; i < 230; i += 1) server.addRelease({ tag_name: `v0.${i}.0`, draft: i % 2 === 0 })
    const { problem } = await publishOnGitHub(server, made)
    expect(problem).toBeUndefined()
    expect(writesOf()).toEqual(['upload', 'upload', 'publish'])
    expect(draft.draft).toBe(false)
    expect(server.releases.filter(({ tag_name: tag }) => tag === 'v1.2.3').length).toBe(1)
  })
})

describe('what is published', () => {
  test('text, flags and files, SHA256SUMS in the format of sha256sum', async () => {
    expect((await publishOnGitHub(server, made)).problem).toBeUndefined()
    expect(server.releases).toMatchObject([
      {
        tag_name: 'v1.2.3',
        target_commitish: server.commit,
        name: 'v1.2.3',
        body: notes,
        draft: false,
        prerelease: false,
      },
    ])
    const sums = server.releases[0]?.assets.find(({ name }) => name === 'SHA256SUMS')?.content.toString() ?? ''
    expect(sums.trimEnd().split('\n').sort()).toEqual(
      made.release.assets.map((asset) => `${asset.sha256}  ${path.basename(asset.file)}`).sort(),
    )
  })

  test('the text that an earlier draft has is replaced', async () => {
    release({ body: 'older', name: 'older', prerelease: true })
    expect((await publishOnGitHub(server, made)).problem).toBeUndefined()
    expect(server.releases).toMatchObject([{ body: notes, name: 'v1.2.3', prerelease: false }])
  })

  test('a version with a hyphen is a prerelease', async () => {
    const candidate = await releaseDirectory({ version: '2.0.0-rc.1' })
    server.refs['tags/v2.0.0-rc.1'] = { type: 'commit', sha: server.commit }
    server.complete = candidate.complete
    expect((await publishOnGitHub(server, candidate)).problem).toBeUndefined()
    expect(server.releases).toMatchObject([{ tag_name: 'v2.0.0-rc.1', draft: false, prerelease: true }])
  })

  test('a dry run reads, says what it would do and changes nothing', async () => {
    const { problem, said } = await publishOnGitHub(server, made, { dryRun: true })
    expect(problem).toBeUndefined()
    expect(said).toContain(`would create a draft of v1.2.3 at ${server.commit}`)
    for (const [name, content] of made.contents)
      expect(said).toContain(`would upload ${name} (${content.length} bytes)`)
    expect(said).toContain('would publish the release v1.2.3')
    expect(writesOf()).toEqual([])
  })

  test('a dry run compares what a draft has', async () => {
    server.addAsset(attach(release(), ['SHA256SUMS']), first, Buffer.alloc(0), { state: 'starter' })
    const { problem, said } = await publishOnGitHub(server, made, { dryRun: true })
    expect(problem).toBeUndefined()
    expect(said).toContain(`would remove ${first}`)
    expect(said).toContain(`would upload ${first}`)
    expect(said).not.toContain('would upload SHA256SUMS')
    expect(server.requests).toContain('storage')
    expect(writesOf()).toEqual([])
  })

  test.each([
    ['repository', 'rate limit', 'GitHub: rate limit: waiting 2 s'],
    ['repository', 'rate limit as 429', 'GitHub: rate limit: waiting 2 s'],
    ['create', 'secondary rate limit', 'GitHub: secondary rate limit: waiting 2 s'],
    ['create', 'secondary rate limit as 429', 'GitHub: secondary rate limit: waiting 60 s'],
  ])('%s: a %s is waited for twice, which is said, and then given up', async (endpoint, kind, message) => {
    server.faults = [{ endpoint, kind, times: Number.POSITIVE_INFINITY }]
    const { problem, said } = await publishOnGitHub(server, made)
    expect(problem?.message).toMatch(/rate limit.*\n.*run the same command again/)
    expect(said.split('\n').filter((line) => line === message).length).toBe(2)
    expect(server.requests.filter((name) => name === endpoint).length).toBe(3)
  })
})

describe('what happens on GitHub while nobody answers', () => {
  /** Does something before the n-th request to an endpoint is carried out. */
  function before(n, endpoint, work) {
    const push = server.requests.push.bind(server.requests)
    server.requests.push = (name) => {
      const length = push(name)
      if (name === endpoint && server.requests.filter((one) => one === endpoint).length === n) work(server.releases[0])
      return length
    }
  }

  test('an upload is carried out after it was looked for: the next attempt is refused, and it is found', async () => {
    server.faults = [{ endpoint: 'upload', kind: 'reset before', times: 1 }]
    before(2, 'upload', (draft) => attach(draft, [first]))
    expect((await publishOnGitHub(server, made)).problem).toBeUndefined()
    expect(writesOf()).toEqual(['create', 'upload', 'upload', 'upload', 'upload', 'publish'])
  })

  test('another file took the name: it is left as it is', async () => {
    server.faults = [{ endpoint: 'upload', kind: 'reset before', times: 1 }]
    before(2, 'assets', (draft) => server.addAsset(draft, first, Buffer.from('another')))
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toMatch(/has another widgets-v1\.2\.3-linux-x64\.tar\.gz\n/)
    expect(writesOf()).toEqual(['create', 'upload'])
  })

  test('a draft is made after it was looked for: neither of the two is published', async () => {
    server.faults = [{ endpoint: 'create', kind: 'reset before', times: 1 }]
    before(2, 'create', () => release())
    const { problem } = await publishOnGitHub(server, made)
    expect(problem?.message).toMatch(/2 releases of v1\.2\.3:\n.*draft.*\n.*draft.*\ndelete the drafts/)
    expect(server.requests).not.toContain('publish')
  })
})

describe('between verifying and publishing', () => {
  /** @param {(draft: import('./support/github-server.mjs').StoredRelease) => void} meanwhile @param {object} [pace] */
  async function publishWith(meanwhile, pace = { throttle }) {
    const { repository, token, apiUrl, commit } = server
    const target = { repository, token, apiUrl, commit }
    const say = () => {}
    const github = connect({ target, limits: { ...defaultLimits, ...waits }, say, ...pace })
    const shared = { notes, commit, dryRun: false, say }
    const read = await readRelease(made.directory)
    const prepared = await prepare(github, read, shared)
    expect(server.releases).toMatchObject([{ draft: true }])
    meanwhile(server.releases[0] ?? release())
    return makePublic(github, read, prepared, shared)
  }

  test.each([
    ['an asset was added', (draft) => server.addAsset(draft, 'more', Buffer.from('x')), /changed by someone else/],
    ['an upload began', (draft) => server.addAsset(draft, 'more', Buffer.alloc(0), { state: 'starter' }), /changed by/],
    [
      'an asset was replaced',
      (draft) => server.addAsset(draft, draft.assets.pop().name, Buffer.from('x')),
      /changed by/,
    ],
    ['an asset was deleted', (draft) => draft.assets.pop(), /changed by/],
    ['the draft was deleted', () => server.releases.pop(), /changed by/],
    ['another draft was made', () => release(), /2 releases of v1.2.3/],
    ['the tag was deleted', () => delete server.refs['tags/v1.2.3'], /has no tag v1.2.3/],
    [
      'the tag was moved',
      () => Object.assign(server.tags['a1'.repeat(20)] ?? {}, { sha: 'dd'.repeat(20) }),
      /expected at commit/,
    ],
  ])('%s: it is not published', async (_, meanwhile, message) => {
    await expect(publishWith(meanwhile)).rejects.toThrow(message)
    expect(server.requests).not.toContain('publish')
  })

  test('someone else published it: it is left as it is', async () => {
    await publishWith((draft) => Object.assign(draft, { draft: false }))
    expect(server.requests).not.toContain('publish')
  })

  test("with octokit's own pace, a second between writes", async () => {
    // Timers end in their order, however busy the machine: every second of waiting has a tick in it.
    let ticks = 0
    const ticking = setInterval(() => ticks++, 400)
    await publishWith(() => {}, {}).finally(() => clearInterval(ticking))
    expect(server.releases).toMatchObject([{ draft: false }])
    expect(writesOf().length).toBeGreaterThan(4)
    expect(ticks).toBeGreaterThanOrEqual(writesOf().length - 1)
  })
})
