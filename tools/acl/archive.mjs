import { open } from 'node:fs/promises'
import { Problem } from './problem.mjs'

/**
 * The members of a static library, in GNU's or BSD's format.
 * @param {string} file
 */
export async function* membersOf(file) {
  const handle = await open(file, 'r')
  try {
    const { size } = await handle.stat()
    /** @param {number} at @param {number} length */
    const read = async (at, length) => {
      const buffer = Buffer.alloc(Math.min(length, Math.max(0, size - at)))
      await handle.read(buffer, 0, buffer.length, at)
      return buffer
    }
    const magic = (await read(0, 8)).toString('latin1')
    if (magic !== '!<arch>\n') throw new Problem(`${file}: expected a static library, received another kind of file`)
    for (let at = 8; at + 60 <= size; ) {
      const header = (await read(at, 60)).toString('latin1')
      let name = header.slice(0, 16).trim()
      const length = Number(header.slice(48, 58))
      if (header.slice(58) !== '`\n' || !Number.isInteger(length) || at + 60 + length > size)
        throw new Problem(`${file}: the library is cut off or damaged at byte ${at}`)
      let start = at + 60
      const extended = name.match(/^#1\/(\d+)$/)
      if (extended) {
        name = (await read(start, Number(extended[1]))).toString('latin1').replace(/\0.*$/, '')
        start += Number(extended[1])
      }
      const end = at + 60 + length
      if (!/^(\/|\/\/|\/SYM64\/|__\.SYMDEF.*)$/.test(name))
        yield { name, content: await read(start, Math.min(end - start, 64 * 1024)) }
      at = end + (end % 2)
    }
  } finally {
    await handle.close()
  }
}
