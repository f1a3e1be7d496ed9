import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'

/**
 * A registry on 127.0.0.1 that speaks as much of npm's protocol as `npm view` and `npm publish` need.
 * @param {string} directory for npm's configuration and cache
 */
export async function startRegistry(directory) {
  const token = 'npm-token'
  const registry = {
    address: '',
    /** Name to what the registry knows of it. @type {Map<string, any>} */
    packages: new Map(),
    /** Packages in the order in which they were published. @type {string[]} */
    published: [],
    /** PUT and GET with the package. @type {string[]} */
    requests: [],
    /** What goes wrong with a request: '500', 'reset after', 'invisible'. @type {{ request: string, kind: string, times: number }[]} */
    faults: [],
    /** The environment for npm: this registry, a home of its own, no retries that wait. @type {NodeJS.ProcessEnv} */
    env: {},
    close,
  }

  const http = createServer(async (request, response) => {
    /** @type {Buffer[]} */
    const parts = []
    for await (const part of request) parts.push(part)
    const name = decodeURIComponent((request.url ?? '').slice(1))
    const asked = `${request.method} ${name}`
    registry.requests.push(asked)
    const answer = (status, json) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(json))
    }
    const fault = registry.faults.find((one) => one.request === asked && one.times > 0)
    if (fault) fault.times -= 1
    if (fault?.kind === '500') return answer(500, { error: 'out of order' })
    if (request.method === 'GET') {
      const known = fault?.kind === 'invisible' ? undefined : registry.packages.get(name)
      return known ? answer(200, known) : answer(404, { error: 'not found' })
    }
    if (request.method !== 'PUT') return answer(405, { error: 'method not allowed' })
    if (request.headers.authorization !== `Bearer ${token}`) return answer(401, { error: 'who are you?' })
    const sent = JSON.parse(Buffer.concat(parts).toString())
    const [version] = Object.keys(sent.versions)
    const known = registry.packages.get(name) ?? { ...sent, versions: {}, 'dist-tags': {} }
    if (known.versions[version]) return answer(403, { error: `You cannot publish over ${version}.` })
    Object.assign(known.versions, sent.versions)
    Object.assign(known['dist-tags'], sent['dist-tags'])
    known.access = sent.access
    registry.packages.set(name, known)
    registry.published.push(`${name}@${version}`)
    if (fault?.kind === 'reset after') return request.socket.resetAndDestroy()
    answer(201, { ok: true })
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (http.address())
  registry.address = `http://127.0.0.1:${port}/`

  const userconfig = path.join(directory, '.npmrc')
  // As actions/setup-node writes it.
  writeFileSync(userconfig, `//127.0.0.1:${port}/:_authToken=\${NODE_AUTH_TOKEN}\n`)
  registry.env = {
    PATH: process.env.PATH,
    HOME: directory,
    NODE_AUTH_TOKEN: token,
    npm_config_registry: registry.address,
    npm_config_userconfig: userconfig,
    npm_config_globalconfig: path.join(directory, 'globalrc'),
    npm_config_cache: path.join(directory, 'cache'),
    npm_config_fetch_retry_mintimeout: '10',
    npm_config_fetch_retry_maxtimeout: '10',
    npm_config_update_notifier: 'false',
  }

  function close() {
    http.closeAllConnections()
    http.close()
  }

  return registry
}
