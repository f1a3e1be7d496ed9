import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import path from 'node:path'
import { fs } from 'zx'
import { readPackage } from './read-package.mjs'

/**
 * A registry on this machine that has packages that were packed and nothing else: what else an installation asks for, it does not get.
 * @param {string[]} tarballs
 */
export async function startRegistry(tarballs) {
  /** @type {Map<string, { name: string, 'dist-tags': Record<string, string>, versions: Record<string, object> }>} */
  const documents = new Map()
  /** @type {Map<string, Buffer>} */
  const contents = new Map()
  /** Packages that were asked for and are not here. @type {string[]} */
  const unknown = []
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://registry')
    const name = decodeURIComponent(pathname.slice(1))
    const content = contents.get(name)
    const document = documents.get(name)
    if (content) response.end(content)
    else if (document) response.setHeader('content-type', 'application/json').end(JSON.stringify(document))
    else {
      unknown.push(name)
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not found"}')
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const address = /** @type {import('node:net').AddressInfo} */ (server.address())
  const url = `http://127.0.0.1:${address.port}`
  for (const file of tarballs) {
    const manifest = await readPackage(file)
    const content = await fs.readFile(file)
    const name = `tarballs/${path.basename(file)}`
    const integrity = `sha512-${createHash('sha512').update(content).digest('base64')}`
    contents.set(name, content)
    const version = { [manifest.version]: { ...manifest, dist: { integrity, tarball: `${url}/${name}` } } }
    documents.set(manifest.name, {
      name: manifest.name,
      'dist-tags': { latest: manifest.version },
      versions: { ...documents.get(manifest.name)?.versions, ...version },
    })
  }
  return { url, unknown, close: () => new Promise((resolve) => server.close(resolve)) }
}
