import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { defaultLimits } from '../publish/limits.mjs'
import { checkManifests } from '../publish/npm/manifests.mjs'
import { findMissing, publishPackages } from '../publish/npm.mjs'
import { publish } from '../publish/publish.mjs'
import { readRelease } from '../publish/release.mjs'
import { throttle, waits } from './support/github-publisher.mjs'
import { releaseDirectory, temporary } from './support/github-release-directory.mjs'
import { startGitHub } from './support/github-server.mjs'
import { startRegistry } from './support/npm-registry.mjs'

vi.setConfig({ testTimeout: 240_000 })

/** @typedef {Awaited<ReturnType<typeof releaseDirectory>>} Made */
/** @type {Made} */
let made
beforeAll(async () => {
  made = await releaseDirectory()
})
const root = '@acme/widgets'
const user = '@acme/gadget'
const [leaf, otherLeaf] = ['@acme/widgets-linux-x64', '@acme/widgets-darwin-arm64']
const all = [leaf, otherLeaf, root, user].map((name) => `${name}@1.2.3`)

/** @param {(servers: Awaited<ReturnType<typeof start>>) => Promise<void>} work */
async function withServers(work) {
  const servers = await start()
  try {
    await work(servers)
    expect(servers.github.violations).toEqual([])
  } finally {
    servers.github.close()
    servers.registry.close()
  }
}

async function start() {
  const github = await startGitHub()
  github.complete = made.complete
  const registry = await startRegistry(temporary())
  const { repository, token, commit, apiUrl } = github
  return {
    github,
    registry,
    puts: () => registry.requests.filter((request) => request.startsWith('PUT')),
    /** Provenance is signed by the machines of a CI that npm knows: here it is left out, save where it is what is tested. */
    async run({ from = made, dryRun = false, provenance = false } = {}) {
      /** @type {string[]} */
      const said = []
      const env = { ...registry.env, GITHUB_TOKEN: token, GITHUB_REPOSITORY: repository, GITHUB_SHA: commit }
      const problem = await publish({
        ...{ directory: from.directory, changelog: from.changelog, env: { ...env, GITHUB_API_URL: apiUrl } },
        ...{ dryRun, provenance, limits: waits, throttle, say: (text) => said.push(text) },
      }).catch((error) => error)
      return { problem, said: said.join('\n') }
    },
  }
}

describe.concurrent('GitHub and npm, by npm itself', () => {
  test('a dry run is the default, and changes nothing', () =>
    withServers(async ({ github, registry, puts }) => {
      /** @type {string[]} */
      const said = []
      const { repository, token, commit, apiUrl } = github
      await publish({
        ...{ ...made, repository, token, commit, apiUrl, env: registry.env, limits: waits, throttle },
        say: (text) => said.push(text),
      })
      for (const one of all) expect(said).toContain(`npm: would publish ${one} (tag latest)`)
      expect(said.at(-1)).toBe('would publish the release v1.2.3')
      expect(puts()).toEqual([])
      expect(github.releases).toEqual([])
    }))

  test('npm comes before the release is public; a second run publishes that, and nothing twice', () =>
    withServers(async ({ github, registry, puts, run }) => {
      github.faults = [{ endpoint: 'publish', kind: '422', times: 1 }]
      registry.faults = [{ request: `PUT ${root}`, kind: '500', times: 1 }]
      const { problem } = await run()
      expect(problem?.message).toMatch(/refused: 422/)
      expect(registry.published).toEqual(all)
      expect(github.releases).toMatchObject([{ draft: true }])
      const packages = [...registry.packages.values()]
      expect(packages.map((one) => one.access)).toEqual(Array(4).fill('public'))
      expect(packages.map((one) => one['dist-tags'])).toEqual(Array(4).fill({ latest: '1.2.3' }))

      registry.requests = []
      const second = await run()
      expect(second.problem).toBeUndefined()
      expect(second.said).toContain(`npm: ${root}@1.2.3 is there already`)
      expect(github.releases).toMatchObject([{ draft: false }])
      expect(puts()).toEqual([])
    }))

  test('after a leaf that failed: no root, no release; a second run goes on there', () =>
    withServers(async ({ github, registry, puts, run }) => {
      registry.faults = [
        { request: `PUT ${leaf}`, kind: 'reset after', times: 1 },
        { request: `PUT ${otherLeaf}`, kind: '500', times: 99 },
      ]
      const { problem } = await run()
      expect(problem?.message).toMatch(
        /npm publish of @acme\/widgets-darwin-arm64@1\.2\.3 failed:\n.*code E500\n.*out of order/,
      )
      expect(problem?.message).toMatch(/run the same command again/)
      expect(registry.published).toEqual(all.slice(0, 1))
      expect(github.releases).toMatchObject([{ draft: true }])

      registry.faults = []
      registry.requests = []
      expect((await run()).problem).toBeUndefined()
      expect(registry.published).toEqual(all)
      expect(puts()).toEqual([`PUT ${otherLeaf}`, `PUT ${root}`, `PUT ${user}`])
      expect(github.releases).toMatchObject([{ draft: false }])
    }))

  test('another package under the name and version: nothing is done', () =>
    withServers(async ({ github, registry, puts, run }) => {
      registry.packages.set(leaf, {
        name: leaf,
        'dist-tags': { latest: '1.2.3' },
        versions: { '1.2.3': { name: leaf, version: '1.2.3', dist: { integrity: 'sha512-other' } } },
      })
      const { problem } = await run()
      expect(problem?.message).toMatch(
        /the registry has another @acme\/widgets-linux-x64@1\.2\.3\nexpected sha512-.*\nreceived sha512-other/,
      )
      expect(puts()).toEqual([])
      expect(github.requests).toEqual([])
    }))

  test('GitHub fails: the registry is not touched', () =>
    withServers(async ({ github, puts, run }) => {
      github.faults = [{ endpoint: 'upload', kind: '422', times: 9 }]
      expect((await run()).problem?.message).toMatch(/refused: 422/)
      expect(puts()).toEqual([])
    }))

  test('a registry that is out of order: its answer is passed on, nothing is done', () =>
    withServers(async ({ github, registry, run }) => {
      registry.faults = [{ request: `GET ${leaf}`, kind: '500', times: 99 }]
      expect((await run()).problem?.message).toMatch(/npm view @acme\/widgets-linux-x64@1\.2\.3 failed:\n.*E500/)
      expect(github.requests).toEqual([])
    }))

  test('provenance is asked for by default: where npm cannot sign, it says so', () =>
    withServers(async ({ github, puts, run }) => {
      const { problem } = await run({ provenance: true })
      expect(problem?.message).toMatch(
        /npm publish of @acme\/widgets-linux-x64@1\.2\.3 failed:\n.*\n.*provenance.*not supported/,
      )
      expect(puts()).toEqual([])
      expect(github.releases).toMatchObject([{ draft: true }])
    }))

  test('no npm', () =>
    withServers(async ({ github, registry, run }) => {
      registry.env.PATH = temporary()
      const { problem } = await run()
      expect(problem).toMatchObject({ message: 'missing: npm', exitCode: 3 })
      expect(github.requests).toEqual([])
    }))
})

describe('the order of packages', () => {
  /** A registry in memory; what \`fails\` names goes wrong once. */
  function memory({ lost = '', fails = '', invisible = {}, others = {} } = {}) {
    const shown = { ...others }
    const left = { ...invisible }
    const log = []
    return {
      log,
      async integrityOf({ name, integrity }) {
        log.push(`view ${name}`)
        if (shown[name] && left[name] > 0) {
          left[name] -= 1
          return undefined
        }
        return shown[name] === true ? integrity : shown[name]
      },
      async publish({ name }, { tag, dryRun }) {
        log.push(`publish ${name} ${tag}${dryRun ? ' dry' : ''}`)
        if (name === fails) {
          fails = ''
          throw new Error('failed')
        }
        if (dryRun) return
        shown[name] = true
        if (name === lost) throw new Error('the answer was lost')
      },
    }
  }
  /** @param {ReturnType<typeof memory>} registry @param {object} [options] */
  async function run(registry, { dryRun = false, from = made } = {}) {
    const release = await readRelease(from.directory)
    registry.log.splice(0)
    const missing = await findMissing(registry, release.packages)
    const needs = await checkManifests(release.packages)
    const shared = { needs, dryRun, provenance: true, limits: { ...defaultLimits, ...waits }, say: () => {} }
    await publishPackages(registry, release, missing, shared)
    return registry.log
  }
  const publishes = (log) => log.filter((line) => line.startsWith('publish'))
  const names = [leaf, otherLeaf, root, user]

  test('each comes when the registry shows those that it needs', async () => {
    const log = await run(memory({ invisible: { [leaf]: 3, [otherLeaf]: 1, [root]: 2, [user]: 1 } }))
    expect(log.slice(4)).toEqual([
      ...[`publish ${leaf} latest`, `publish ${otherLeaf} latest`],
      ...Array(4).fill(`view ${leaf}`),
      ...Array(2).fill(`view ${otherLeaf}`),
      `publish ${root} latest`,
      ...Array(3).fill(`view ${root}`),
      `publish ${user} latest`,
      ...Array(2).fill(`view ${user}`),
    ])
  })

  test('a registry that never shows a leaf gets no root', async () => {
    const registry = memory({ invisible: { [otherLeaf]: 99 } })
    await expect(run(registry)).rejects.toThrow(
      /darwin-arm64@1\.2\.3 was published, but .* does not show it yet\nrun the same/,
    )
    expect(publishes(registry.log)).toEqual([`publish ${leaf} latest`, `publish ${otherLeaf} latest`])
  })

  test.each(names)('%s fails: a second run goes on there', async (name) => {
    const registry = memory({ fails: name })
    await expect(run(registry)).rejects.toThrow('failed')
    const before = publishes(registry.log)
    expect(before).toEqual(names.slice(0, names.indexOf(name) + 1).map((one) => `publish ${one} latest`))
    expect(publishes(await run(registry))).toEqual(
      names.slice(names.indexOf(name)).map((one) => `publish ${one} latest`),
    )
    expect(publishes(await run(registry))).toEqual([])
  })

  test.each(names)('%s: the answer to publishing is lost', async (name) => {
    expect(publishes(await run(memory({ lost: name })))).toEqual(names.map((one) => `publish ${one} latest`))
  })

  test.each(names)('%s is another: nothing is published', async (name) => {
    const registry = memory({ others: { [name]: 'sha512-other' } })
    await expect(run(registry)).rejects.toThrow(/has another/)
    expect(publishes(registry.log)).toEqual([])
  })

  test('a prerelease gets the tag next', async () => {
    const from = await releaseDirectory({ version: '2.0.0-rc.1' })
    expect(publishes(await run(memory(), { from }))).toEqual(names.map((one) => `publish ${one} next`))
  })

  test('a dry run waits for nothing', async () => {
    const log = await run(memory(), { dryRun: true })
    expect(log).toEqual([...names.map((one) => `view ${one}`), ...names.map((one) => `publish ${one} latest dry`)])
  })
})

describe('tarballs that are not what release.json says', () => {
  const say = () => {}
  /** @param {Made} from */
  const run = ({ directory, changelog }) =>
    publish({ directory, changelog, repository: 'acme/widgets', token: 'x', env: { PATH: temporary() }, say })
  /** @param {Made} own @param {object[]} npm */
  const relist = (own, npm) => own.write({ ...own.release, npm })

  test('another name', async () => {
    const own = await releaseDirectory()
    const [one, ...others] = own.release.npm
    relist(own, [{ ...one, name: '@acme/other' }, ...others])
    await expect(run(own)).rejects.toThrow(
      /linux-x64-1\.2\.3\.tgz: name: expected @acme\/other, received @acme\/widgets-linux-x64/,
    )
  })

  test('another version', async () => {
    const own = await releaseDirectory()
    const older = await releaseDirectory({ version: '1.2.2' })
    relist(
      own,
      older.release.npm.map((one, i) => ({ ...one, version: '1.2.3', file: own.release.npm[i]?.file })),
    )
    for (const [i, { file }] of older.release.npm.entries()) {
      const to = own.place(own.release.npm[i]?.file ?? '')
      rmSync(to)
      writeFileSync(to, older.read(file))
    }
    await expect(run(own)).rejects.toThrow(/version: expected 1\.2\.3, received 1\.2\.2/)
  })

  test.each([
    [
      'a leaf last',
      ([one, two, three, four]) => [three, one, two, four],
      /widgets depends on .*, which must come before/,
    ],
    ['a leaf missing', ([one, , three, four]) => [one, three, four], /widgets depends on .*, which must come before/],
    ['the root missing', ([one, two, , four]) => [one, two, four], /gadget depends on @acme\/widgets, which must come/],
    ['the root and its user missing', ([one, two]) => [one, two], /no package depends on @acme\/widgets-linux-x64/],
    ['the root last', ([one, two, three, four]) => [one, two, four, three], /gadget depends on @acme\/widgets, which/],
  ])('%s', async (_, order, message) => {
    const own = await releaseDirectory()
    relist(own, order(own.release.npm))
    await expect(run(own)).rejects.toThrow(message)
  })

  test('another version of a package that is needed', async () => {
    const own = await releaseDirectory({ needs: '^1.0.0' })
    await expect(run(own)).rejects.toThrow(/acme-gadget.*: @acme\/widgets: expected 1\.2\.3, received \^1\.0\.0/)
  })

  test('no tarball', async () => {
    const own = await releaseDirectory()
    const [one, ...others] = own.release.npm
    relist(own, [{ ...own.release.assets[0], name: one?.name, version: one?.version }, ...others])
    await expect(run(own)).rejects.toThrow(
      new RegExp(`${path.basename(own.release.assets[0]?.file ?? '')}: no package`),
    )
  })
})
