/** What can go wrong with a request. Tests name these by their keys. */

/** @typedef {import('node:http').ServerResponse} Response */
/**
 * @typedef {object} Exchange
 * @property {import('node:http').IncomingMessage} request
 * @property {Response} response
 * @property {Buffer} body
 * @property {(body: Buffer, state?: string) => any} run carries the request out
 * @property {(response: Response, answer: any) => void} send
 */

/** @param {number} status @param {string} message @param {Record<string, string>} [headers] */
const refusal = (status, message, headers) => ({ status, json: { message }, headers })
const inSeconds = (seconds) => `${Math.floor(Date.now() / 1000) + seconds}`
const secondary = 'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.'
const primary = 'API rate limit exceeded for installation ID 1.'
const used = (seconds) => ({ 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': inSeconds(seconds) })

/** @param {() => any} answer instead of carrying the request out */
const instead =
  (answer) =>
  /** @param {Exchange} exchange */
  ({ response, send }) =>
    send(response, answer())

/** Headers and the first half of an answer, then the connection goes. @param {Exchange} exchange @param {any} answer */
function half({ request, response }, answer) {
  const whole = answer.content ?? Buffer.from(JSON.stringify(answer.json ?? ''))
  const type = answer.content ? 'application/octet-stream' : 'application/json; charset=utf-8'
  const location = answer.location ? { location: answer.location } : {}
  response.writeHead(answer.status, { 'content-type': type, 'content-length': whole.length + 1, ...location })
  response.write(whole.subarray(0, Math.ceil(whole.length / 2)), () => request.socket.destroy())
}

/** Faults that take the place of an answer. @type {Record<string, (exchange: Exchange) => void>} */
export const breaks = {
  500: instead(() => refusal(500, 'Server Error')),
  502: instead(() => ({ status: 502, content: Buffer.from('<html>Bad Gateway</html>') })),
  401: instead(() => refusal(401, 'Bad credentials')),
  403: instead(() => refusal(403, 'Resource not accessible by integration')),
  404: instead(() => refusal(404, 'Not Found')),
  409: instead(() => refusal(409, 'Conflict')),
  422: instead(() => refusal(422, 'Validation Failed')),
  'rate limit': instead(() => refusal(403, primary, used(1))),
  'rate limit as 429': instead(() => refusal(429, primary, used(1))),
  'rate limit for an hour': instead(() => refusal(403, primary, used(3600))),
  'secondary rate limit': instead(() => refusal(403, secondary, { 'retry-after': '2' })),
  'secondary rate limit as 429': instead(() => refusal(429, secondary)),
  'html with status 200': instead(() => ({
    status: 200,
    content: Buffer.from('<html>'),
    headers: { 'content-type': 'text/html' },
  })),
  'json of another kind': instead(() => ({ status: 200, json: { message: 'hello' } })),
  'json null': instead(() => ({ status: 200, json: null })),
  'cut json with a fitting length': instead(() => ({
    ...{ status: 200, content: Buffer.from('[{"id": 1, "tag') },
    headers: { 'content-type': 'application/json' },
  })),
  'reset before': ({ request }) => request.socket.resetAndDestroy(),
  'reset after': ({ request, body, run }) => {
    run(body)
    request.socket.resetAndDestroy()
  },
  'hang before': () => {},
  'hang after': ({ body, run }) => run(body),
  'hang in the answer': ({ response, body, run }) => {
    const { status, content } = run(body)
    response.writeHead(status, { 'content-type': 'application/octet-stream', 'content-length': 1000 })
    response.write(content?.subarray(0, 10) ?? '[')
  },
  '502 after': ({ response, body, run, send }) => {
    run(body)
    send(response, refusal(502, 'Bad Gateway'))
  },
  'cut answer': (exchange) => half(exchange, exchange.run(exchange.body)),
  'cut upload': ({ request, body, run }) => {
    run(body.subarray(0, body.length / 2), 'starter')
    request.socket.resetAndDestroy()
  },
  'cut upload with 502': ({ response, run, send }) => {
    run(Buffer.alloc(0), 'starter')
    send(response, refusal(502, 'Bad Gateway'))
  },
  'upload stored short': ({ response, body, run, send }) => send(response, run(body.subarray(0, body.length / 2))),
  'upload stored short, answer lost': ({ request, body, run }) => {
    run(body.subarray(0, body.length / 2))
    request.socket.resetAndDestroy()
  },
}

/** Faults that change an answer. @type {Record<string, (answer: any) => any>} */
export const spoils = {
  'short content': (answer) => ({ ...answer, content: answer.content.subarray(0, answer.content.length / 2) }),
  'other content': (answer) => ({ ...answer, content: Buffer.alloc(answer.content.length, 7) }),
}
