import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Problem } from './problem.mjs'

/** What must not outlive this process: unfinished files and directories, and the locks it holds. */
const unfinished = new Set()

/** Called when the process is told to stop. */
export function removeUnfinished() {
  for (const place of unfinished) rmSync(place, { recursive: true, force: true })
}

/**
 * Whether a process is there and has not ended: one that nobody has asked for its exit code still has a number.
 * @param {number} number
 */
export function isRunning(number) {
  if (!number) return false
  try {
    process.kill(number, 0)
  } catch (error) {
    return error.code === 'EPERM'
  }
  try {
    return !/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${number}/stat`, 'latin1'))
  } catch {
    return true
  }
}

/**
 * Lends a place beside another for as long as some work lasts. What killed processes left there is removed.
 * @template T
 * @param {string} place
 * @param {(partial: string) => Promise<T>} work
 */
export async function beside(place, work) {
  const directory = path.dirname(place)
  await mkdir(directory, { recursive: true })
  const beginning = `${path.basename(place)}.partial-`
  for (const name of await readdir(directory))
    if (name.startsWith(beginning) && !isRunning(Number(name.slice(beginning.length))))
      await rm(path.join(directory, name), { recursive: true, force: true })
  const partial = path.join(directory, `${beginning}${process.pid}`)
  unfinished.add(partial)
  try {
    await rm(partial, { recursive: true, force: true })
    return await work(partial)
  } finally {
    await rm(partial, { recursive: true, force: true })
    unfinished.delete(partial)
  }
}

/**
 * Makes something beside its place and moves it there when it is whole, so that an interruption leaves nothing at the
 * place itself.
 * @template T
 * @param {string} place of a file or a directory; what is there is replaced
 * @param {(partial: string) => Promise<T>} make
 */
export const whole = (place, make) =>
  beside(place, async (partial) => {
    const made = await make(partial)
    try {
      await rename(partial, place)
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EISDIR'].includes(error.code)) throw error
      await rm(place, { recursive: true })
      await rename(partial, place)
    }
    return made
  })

/**
 * Writes a file so that it is either the old or the new one.
 * @param {string} file
 * @param {unknown} value
 */
export const writeJson = (file, value) =>
  whole(file, (partial) => writeFile(partial, `${JSON.stringify(value, null, 2)}\n`))

/**
 * The content of a JSON file, or undefined when there is none or it is not JSON.
 * @param {string} file
 */
export async function readJson(file) {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch {
    return undefined
  }
}

/**
 * Gives a file another name, unless something has that name already: then false.
 * @param {string} from
 * @param {string} to
 */
async function linked(from, to) {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(error.code)) throw error
    throw new Problem(
      `${path.dirname(to)}: the file system takes no hard links (${error.code}), and locks are made of them`,
      'exFAT has none: use a checkout on another file system',
    )
  }
}

/**
 * The processes that a lock names and that are still there; undefined when there is no lock.
 * @param {string} file
 */
async function ownersOf(file) {
  try {
    return (await readFile(file, 'utf8')).split('\n').map(Number).filter(isRunning)
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Takes a lock whose owners are gone, if nobody else does. Only one process at a time may try: what another one removes as left
 * behind could be the lock that the first has just taken.
 * @param {string} file
 * @param {string} mine
 */
async function takeOver(file, mine) {
  const turn = `${file}.takeover`
  if (!(await linked(mine, turn))) return false
  unfinished.add(turn)
  try {
    const owners = await ownersOf(file)
    if (owners?.length) return false
    if (owners) await rm(file)
    return await linked(mine, file)
  } finally {
    await rm(turn)
    unfinished.delete(turn)
  }
}

/**
 * Takes a lock, or fails saying who has it.
 * @param {string} file
 * @param {string} mine a file with this process's number
 * @param {string} what
 * @param {{ patience: number, say: (text: string) => void }} options
 */
async function take(file, mine, what, { patience, say }) {
  const began = Date.now()
  let told = false
  while (!(await linked(mine, file))) {
    const owners = await ownersOf(file)
    if (owners?.length === 0 && (await takeOver(file, mine))) return
    const waited = (Date.now() - began) / 1000
    if (owners?.length) {
      const others = `another process (${owners.join(', ')}) is at it`
      if (waited >= patience)
        throw new Problem(`${what}: ${others}`, `wait for it or stop it; when it is something else: remove ${file}`)
      if (!told) say(`${what}: ${others}; waiting for it`)
      told = true
    } else if (waited >= Math.max(patience, 5))
      throw new Problem(`${what}: a process ended while it took over a lock`, `remove ${file}.takeover`)
    await sleep(owners?.length ? 500 : 20)
  }
}

/**
 * Does something that no other process may do at the same time in the same place. The lock names this process and the
 * programs that it tells `work`'s argument about: these may outlive it.
 * @template T
 * @param {string} file the lock
 * @param {string} what for the message
 * @param {(alsoOf: (program: number) => void) => Promise<T>} work
 * @param {object} [waiting]
 * @param {number} [waiting.patience] seconds to wait for a process that is at it
 * @param {(text: string) => void} [waiting.say]
 */
export async function alone(file, what, work, { patience = 0, say = () => {} } = {}) {
  await mkdir(path.dirname(file), { recursive: true })
  const mine = `${file}-${process.pid}`
  unfinished.add(mine)
  try {
    await writeFile(mine, `${process.pid}`)
    await take(file, mine, what, { patience, say })
    unfinished.add(file)
  } finally {
    await rm(mine, { force: true })
    unfinished.delete(mine)
  }
  try {
    return await work((program) => appendFileSync(file, `\n${program}`))
  } finally {
    await rm(file, { force: true })
    unfinished.delete(file)
  }
}
