/**
 * A fetch that answers wholly or not at all, and in time. octokit takes a body that breaks off for an empty one, and
 * JSON that it cannot read for a text: a list of releases that is cut off would be a repository without releases.
 * @param {number} timeout milliseconds
 * @returns {typeof fetch}
 */
export const wholeAnswers = (timeout) => async (address, init) => {
  try {
    const answer = await fetch(address, { ...init, signal: AbortSignal.timeout(timeout) })
    const body = await answer.arrayBuffer()
    if (answer.ok && /^application\/json\b/.test(answer.headers.get('content-type') ?? ''))
      JSON.parse(Buffer.from(body).toString())
    const { status, statusText, headers } = answer
    return new Response(body.byteLength ? body : null, { status, statusText, headers })
  } catch (error) {
    throw new Error(reason(error, timeout), { cause: error })
  }
}

/** @param {any} error @param {number} timeout */
function reason(error, timeout) {
  if (error.name === 'TimeoutError') return `it took longer than ${Math.ceil(timeout / 1000)} s`
  if (error instanceof SyntaxError) return `what came is not JSON (${error.message})`
  return error.cause?.message || error.cause?.code || error.message
}
