import { beforeAll, describe, expect, test, vi } from 'vitest'
import { Problem } from '../../acl/problem.mjs'
import { publishOnGitHub } from './support/github-publisher.mjs'
import { notes, releaseDirectory } from './support/github-release-directory.mjs'
import { startGitHub } from './support/github-server.mjs'

vi.setConfig({ testTimeout: 60_000 })

/** @type {Awaited<ReturnType<typeof releaseDirectory>>} */
let made
beforeAll(async () => {
  made = await releaseDirectory()
})

/** @typedef {import('./support/github-server.mjs').GitHubServer} GitHubServer */
/** What earlier runs have left. @type {Record<string, (server: GitHubServer) => void>} */
const beginnings = {
  nothing: () => {},
  'a draft': (server) => {
    const draft = server.addRelease({ tag_name: 'v1.2.3', body: 'old' })
    const [[first, content], [second]] = [...made.contents]
    server.addAsset(draft, first, content)
    server.addAsset(draft, second, Buffer.alloc(0), { state: 'starter' })
  },
}

const again = /run the same command again/
/** What is not tried again, and what is said then. @type {Record<string, RegExp>} */
const refused = {
  401: /does not accept the token.*\n.*contents: write/,
  403: /lacks contents: write/,
  404: /not found|has no tag|without effect/,
  409: /refused: 409 Conflict/,
  422: /refused: 422 Validation Failed/,
  'rate limit for an hour': /rate limit.*\nfrom \d{4}-.*, run the same command again/,
}
/** What is said when it was tried again in vain. @type {Record<string, RegExp>} */
const inVain = {
  500: /: 500 Server Error\nrun the same command again/,
  'cut answer': /no answer: .*\nrun the same command again/,
  'hang before': /no answer: it took longer than [12] s\nrun the same command again/,
  'hang in the answer': /no answer: it took longer than [12] s\nrun the same command again/,
}
const transient = ['502', 'reset before', 'hang before', 'cut json with a fitting length', 'cut answer']
const limited = ['rate limit', 'secondary rate limit']
const carriedOut = ['reset after', 'hang after', '502 after', 'hang in the answer']
const nonsense = ['html with status 200', 'json of another kind', 'json null']
const uploads = ['cut upload', 'cut upload with 502', 'upload stored short', 'upload stored short, answer lost']
const contents = ['short content', 'other content', 'hang in the answer']

const reads = [...Object.keys(refused), ...transient, ...limited, ...nonsense]
const writes = [...reads, ...carriedOut]
const lasting = ['500', 'hang before', 'reset after']
/** From what beginning and at which endpoint what goes wrong: once, and always. @type {[string, string, string[], string[]][]} */
const table = [
  ['nothing', 'repository', [...reads, 'rate limit as 429', 'secondary rate limit as 429'], ['500', ...limited]],
  ['nothing', 'ref', reads, ['500']],
  ['nothing', 'tag', reads, ['500']],
  ['nothing', 'releases', reads, ['500', 'cut answer']],
  ['nothing', 'create', writes, lasting],
  ['nothing', 'assets', reads, ['500']],
  ['nothing', 'upload', [...writes, ...uploads], [...lasting, ...limited, ...uploads]],
  ['nothing', 'download', reads, ['500']],
  ['nothing', 'storage', [...reads, ...contents], ['500', ...contents]],
  ['nothing', 'publish', writes, lasting],
  ['a draft', 'delete', writes, ['500', '404', 'reset after']],
  ['a draft', 'releases', ['500', '409', ...nonsense], []],
  ['a draft', 'assets', ['500', '409', ...nonsense], []],
  ['a draft', 'upload', uploads, uploads],
  ['a draft', 'storage', contents, contents],
  ['a draft', 'publish', ['reset after', '422'], []],
]
// A deletion is answered without a body.
const impossible = { delete: ['cut answer', 'hang in the answer'] }

/** @type {{ beginning: string, endpoint: string, kind: string, often: 'once' | 'always' }[]} */
const cases = table.flatMap(([beginning, endpoint, once, always]) =>
  Object.entries({ once, always }).flatMap(([often, kinds]) =>
    kinds
      .filter((kind) => !impossible[endpoint]?.includes(kind))
      .map((kind) => ({ beginning, endpoint, kind, often: /** @type {'once' | 'always'} */ (often) })),
  ),
)

describe.concurrent('nothing is published by half, and a second run finishes', () => {
  test.each(cases)('from $beginning, $endpoint: $kind, $often', (one) => run(one))
})

/** @param {typeof cases[number]} one */
async function run({ beginning, endpoint, kind, often }) {
  await withServer(beginning, async (server) => {
    server.faults = [{ endpoint, kind, times: often === 'once' ? 1 : Number.POSITIVE_INFINITY }]
    const { problem } = await publishOnGitHub(server, made, { timeout: kind.startsWith('hang') ? 600 : 5000 })
    expect(server.struck).toBeGreaterThan(0)
    const expected = outcome(endpoint, kind, often)
    if (expected === 'finishes') expect(problem).toBeUndefined()
    if (expected === 'fails') expect(problem?.message).toMatch(refused[kind] ?? inVain[kind] ?? again)
    if (problem) expect(problem).toBeInstanceOf(Problem)
    else expectPublished(server)
    expect(releasesOf(server).length).toBeLessThan(2)

    server.faults = []
    server.requests = []
    const second = await publishOnGitHub(server, made)
    expect(second.problem).toBeUndefined()
    expectPublished(server)
    expect(server.violations).toEqual([])
    if (!problem) expect(server.requests.filter(isWrite)).toEqual([])
  })
}

test.each([['500'], ['reset before'], ['html with status 200']])(
  'the answer to publishing is lost, and the question whether it was done fails: %s',
  (kind) =>
    withServer('nothing', async (server) => {
      const always = Number.POSITIVE_INFINITY
      server.faults = [
        { endpoint: 'publish', kind: 'reset after', times: 1 },
        { endpoint: 'release', kind, times: always },
      ]
      const { problem } = await publishOnGitHub(server, made)
      expect(problem?.message).toMatch(again)
      expect(server.struck).toBeGreaterThan(1)
      server.faults = []
      expect((await publishOnGitHub(server, made)).problem).toBeUndefined()
      expectPublished(server)
      expect(server.violations).toEqual([])
    }),
)

/** @param {string} endpoint */
const isWrite = (endpoint) => ['create', 'upload', 'delete', 'publish'].includes(endpoint)

/**
 * What the first run must do.
 * @param {string} endpoint @param {string} kind @param {'once' | 'always'} often
 */
function outcome(endpoint, kind, often) {
  if (nonsense.includes(kind)) return ['releases', 'assets'].includes(endpoint) ? 'fails' : 'either'
  if (kind === '404' && endpoint === 'delete') return often === 'once' ? 'finishes' : 'fails'
  if (kind in refused) return 'fails'
  if (often === 'once') return 'finishes'
  if (isWrite(endpoint) && [...carriedOut, 'cut answer'].includes(kind)) return 'finishes'
  return 'fails'
}

/** @param {string} beginning @param {(server: GitHubServer) => Promise<void>} work */
async function withServer(beginning, work) {
  const server = await startGitHub({ pageLimit: 2, digests: false })
  try {
    server.complete = made.complete
    beginnings[beginning](server)
    server.addRelease({ tag_name: 'v1.0.0', draft: false })
    await work(server)
  } finally {
    server.close()
  }
}

/** @param {GitHubServer} server */
const releasesOf = ({ releases }) => releases.filter(({ tag_name: tag }) => tag === 'v1.2.3')

/** @param {GitHubServer} server */
function expectPublished(server) {
  const found = releasesOf(server)
  expect(found).toMatchObject([{ draft: false, prerelease: false, name: 'v1.2.3', body: notes }])
  expect(found[0]?.assets.map(({ name }) => name).sort()).toEqual([...made.contents.keys()].sort())
  for (const { name, state, content } of found[0]?.assets ?? []) {
    expect(state).toBe('uploaded')
    expect(content.equals(made.contents.get(name) ?? Buffer.alloc(0))).toBe(true)
  }
}
