import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { breaks, spoils } from './github-faults.mjs'

const sha256 = (content) => createHash('sha256').update(content).digest('hex')

/** @typedef {{ id: number, name: string, state: string, content: Buffer, digest: boolean }} StoredAsset */
/** @typedef {{ id: number, tag_name: string, draft: boolean, [field: string]: any, assets: StoredAsset[] }} StoredRelease */

/**
 * A server on 127.0.0.1 that speaks as much of GitHub's API as a release needs. Uploads and the content of assets have
 * addresses of their own, as on GitHub. It notes what must never happen in `violations`.
 * @param {object} [options]
 * @param {number} [options.pageLimit] entries on a page at most
 * @param {boolean} [options.digests] whether assets have one
 */
export async function startGitHub({ pageLimit = 2, digests = true } = {}) {
  const repository = 'acme/widgets'
  const token = 'secret-token'
  const commit = 'c0'.repeat(20)
  const annotation = 'a1'.repeat(20)
  let lastId = 100

  const server = {
    repository,
    token,
    commit,
    /** @type {Record<string, { type: string, sha: string }>} */
    refs: { 'tags/v1.2.3': { type: 'tag', sha: annotation } },
    /** @type {Record<string, { type: string, sha: string }>} */
    tags: { [annotation]: { type: 'commit', sha: commit } },
    /** @type {StoredRelease[]} */
    releases: [],
    /** What a published release must consist of: name to sha256. @type {Map<string, string>} */
    complete: new Map(),
    /** @type {string[]} */
    violations: [],
    /** Endpoints in the order of the requests. @type {string[]} */
    requests: [],
    /** What goes wrong at which endpoint, and how often yet. @type {{ endpoint: string, kind: string, times: number }[]} */
    faults: [],
    /** How often something went wrong. */
    struck: 0,
    apiUrl: '',
    addRelease,
    addAsset,
    close,
  }

  const api = await listening('api')
  const uploads = await listening('uploads')
  const storage = await listening('storage')
  server.apiUrl = api.address

  /** @param {Partial<StoredRelease>} fields @returns {StoredRelease} */
  function addRelease(fields) {
    lastId += 1
    const release = {
      id: lastId,
      tag_name: '',
      draft: true,
      prerelease: false,
      name: '',
      body: '',
      assets: [],
      ...fields,
    }
    server.releases.unshift(release)
    return release
  }

  /** @param {StoredRelease} release @param {string} name @param {Buffer} content @param {Partial<StoredAsset>} [fields] */
  function addAsset(release, name, content, fields) {
    lastId += 1
    const asset = { id: lastId, name, content, state: 'uploaded', digest: digests, ...fields }
    release.assets.push(asset)
    return asset
  }

  /** @param {StoredAsset} asset */
  const assetJson = ({ id, name, state, content, digest }) => ({
    ...{ id, name, state, size: content.length },
    digest: digest && state === 'uploaded' ? `sha256:${sha256(content)}` : null,
    url: `${api.address}/repos/${repository}/releases/assets/${id}`,
  })

  /** @param {StoredRelease} release */
  const releaseJson = ({ assets, ...release }) => ({
    ...release,
    html_url: `${api.address}/${repository}/releases/${release.id}`,
    upload_url: `${uploads.address}/repos/${repository}/releases/${release.id}/assets{?name,label}`,
    assets: assets.map(assetJson),
  })

  /** @param {Buffer} body */
  function createRelease(body) {
    const { tag_name: tag, draft, ...fields } = JSON.parse(body.toString())
    if (!draft) server.violations.push('a release was created that is no draft')
    if (server.releases.some((other) => !other.draft && other.tag_name === tag)) return alreadyExists('tag_name')
    return { status: 201, json: releaseJson(addRelease({ ...fields, tag_name: tag, draft: Boolean(draft) })) }
  }

  /** @param {StoredRelease} release @param {Buffer} body */
  function updateRelease(release, body) {
    if (!release.draft) server.violations.push('a published release was changed')
    Object.assign(release, JSON.parse(body.toString()))
    const received = release.assets.map(({ name, state, content }) => `${state} ${name} ${sha256(content)}`).sort()
    const expected = [...server.complete].map(([name, digest]) => `uploaded ${name} ${digest}`).sort()
    if (!release.draft && `${received}` !== `${expected}`) server.violations.push(`published: ${received}`)
    return { status: 200, json: releaseJson(release) }
  }

  /** @param {StoredRelease} release @param {string} name @param {Buffer} body @param {string} [state] */
  function uploadAsset(release, name, body, state = 'uploaded') {
    if (!release.draft) server.violations.push('a file was uploaded to a published release')
    if (release.assets.some((asset) => asset.name === name)) return alreadyExists('name')
    return { status: 201, json: assetJson(addAsset(release, name, body, { state })) }
  }

  /** @param {StoredRelease} release @param {StoredAsset} asset */
  function deleteAsset(release, asset) {
    if (!release.draft) server.violations.push('a file of a published release was deleted')
    release.assets = release.assets.filter((one) => one !== asset)
    return { status: 204 }
  }

  const found = (json) => (json ? { status: 200, json } : notFound)

  /**
   * The endpoint a request is for, and what it does.
   * @param {string} host
   * @param {string} method
   * @param {URL} url
   * @param {Buffer} body
   * @returns {{ endpoint: string, run: (body: Buffer, state?: string) => any }}
   */
  function route(host, method, url, body) {
    const [, , owner, name, ...rest] = url.pathname.split('/').map(decodeURIComponent)
    const at = (pattern) => `${host} ${method} ${rest.join('/')}`.match(pattern)
    const inRelease = (id, work) => {
      const release = server.releases.find((one) => one.id === Number(id))
      return release ? work(release) : notFound
    }
    const ofAsset = (id, work) => {
      const release = server.releases.find(({ assets }) => assets.some((one) => one.id === Number(id)))
      const asset = release?.assets.find((one) => one.id === Number(id))
      return release && asset ? work(release, asset) : notFound
    }
    const run = (endpoint, work) => ({ endpoint, run: work })
    let match
    if (host === 'storage')
      return run('storage', () => ofAsset(url.pathname.slice(1), (_, { content }) => ({ status: 200, content })))
    if (`${owner}/${name}` !== repository) return run('elsewhere', () => notFound)
    if (at(/^api GET $/)) return run('repository', () => found({ full_name: repository }))
    match = at(/^api GET git\/ref\/(.+)$/)
    if (match) return run('ref', () => found(server.refs[match[1]] && { object: server.refs[match[1]] }))
    match = at(/^api GET git\/tags\/(.+)$/)
    if (match) return run('tag', () => found(server.tags[match[1]] && { object: server.tags[match[1]] }))
    if (at(/^api GET releases$/)) return run('releases', () => page(url, server.releases.map(releaseJson)))
    if (at(/^api POST releases$/)) return run('create', createRelease)
    match = at(/^api DELETE releases\/assets\/(\d+)$/)
    if (match) return run('delete', () => ofAsset(match[1], deleteAsset))
    match = at(/^api GET releases\/assets\/(\d+)$/)
    if (match)
      return run('download', () =>
        ofAsset(match[1], (_, { id }) => ({ status: 302, location: `${storage.address}/${id}` })),
      )
    match = at(/^api GET releases\/(\d+)$/)
    if (match) return run('release', () => inRelease(match[1], (release) => found(releaseJson(release))))
    match = at(/^api PATCH releases\/(\d+)$/)
    if (match) return run('publish', (sent) => inRelease(match[1], (release) => updateRelease(release, sent)))
    match = at(/^api GET releases\/(\d+)\/assets$/)
    if (match) return run('assets', () => inRelease(match[1], (release) => page(url, release.assets.map(assetJson))))
    match = at(/^uploads POST releases\/(\d+)\/assets$/)
    if (match) {
      const given = url.searchParams.get('name') ?? ''
      const stored = given.replace(/[^A-Za-z0-9._-]/g, '.')
      return run('upload', (sent, state) => inRelease(match[1], (release) => uploadAsset(release, stored, sent, state)))
    }
    return run(`unknown: ${method} ${url.pathname} (${body.length} bytes)`, () => notFound)
  }

  /** @param {URL} url @param {any[]} entries */
  function page(url, entries) {
    const size = Math.min(Number(url.searchParams.get('per_page') ?? 30), pageLimit)
    const number = Number(url.searchParams.get('page') ?? 1)
    const last = Math.max(1, Math.ceil(entries.length / size))
    const link = ['next', 'last'].map((rel) => {
      const other = new URL(url)
      other.searchParams.set('page', `${rel === 'next' ? number + 1 : last}`)
      return `<${other}>; rel="${rel}"`
    })
    return {
      status: 200,
      json: entries.slice((number - 1) * size, number * size),
      headers: number < last ? { link: link.join(', ') } : {},
    }
  }

  /** @param {string} host */
  async function listening(host) {
    const http = createServer(async (request, response) => {
      const url = new URL(request.url ?? '', `http://${request.headers.host}`)
      /** @type {Buffer[]} */
      const parts = []
      for await (const part of request) parts.push(part)
      const body = Buffer.concat(parts)
      const { endpoint, run } = route(host, request.method ?? '', url, body)
      server.requests.push(endpoint)
      const { authorization, 'content-length': length } = request.headers
      if (host === 'uploads' && Number(length) !== body.length) return send(response, badLength)
      if (host === 'storage' ? authorization : authorization !== `token ${token}`)
        return send(response, host === 'storage' ? { status: 400 } : badCredentials)

      const fault = server.faults.find((one) => one.endpoint === endpoint && one.times > 0)
      if (!fault) return send(response, run(body))
      fault.times -= 1
      server.struck += 1
      if (fault.kind in breaks) breaks[fault.kind]({ request, response, body, run, send })
      else send(response, spoils[fault.kind](run(body)))
    })
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    const { port } = /** @type {import('node:net').AddressInfo} */ (http.address())
    return { http, address: `http://127.0.0.1:${port}` }
  }

  function close() {
    for (const { http } of [api, uploads, storage]) {
      http.closeAllConnections()
      http.close()
    }
  }

  return server
}

const notFound = { status: 404, json: { message: 'Not Found' } }
const badLength = { status: 400, json: { message: 'Bad Content-Length' } }
const badCredentials = { status: 401, json: { message: 'Bad credentials' } }
const alreadyExists = (field) => ({
  status: 422,
  json: { message: 'Validation Failed', errors: [{ resource: 'Release', code: 'already_exists', field }] },
})

/**
 * @param {import('node:http').ServerResponse} response
 * @param {{ status: number, json?: unknown, content?: Buffer, location?: string, headers?: Record<string, string> }} answer
 */
function send(response, { status, json, content, location, headers = {} }) {
  const body = content ?? (json === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(json)))
  response.writeHead(status, {
    'x-ratelimit-limit': '5000',
    'x-ratelimit-remaining': '4999',
    ...(status === 204 ? {} : { 'content-length': body.length }),
    ...(json === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' }),
    ...(content ? { 'content-type': 'application/octet-stream' } : {}),
    ...(location ? { location } : {}),
    ...headers,
  })
  response.end(body)
}

/** @typedef {Awaited<ReturnType<typeof startGitHub>>} GitHubServer */
