import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
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
 * Does something that no other process may do at the same time in the same place. The lock names this process and the
 * programs that it tells `work`'s argument about: these may outlive it.
 * @template T
 * @param {string} file the lock
 * @param {string} what for the message
 * @param {(alsoOf: (program: number) => void) => Promise<T>} work
 */
export async function alone(file, what, work) {
  await mkdir(path.dirname(file), { recursive: true })
  const mine = `${file}-${process.pid}`
  await writeFile(mine, `${process.pid}`)
  try {
    for (let attempt = 0; ; attempt += 1) {
      try {
        await link(mine, file)
        break
      } catch (error) {
        if (error.code !== 'EEXIST') throw error
        const owners = (await readFile(file, 'utf8').catch(() => '')).split('\n').map(Number).filter(isRunning)
        if (attempt === 3 || owners.length)
          throw new Problem(
            `${what}: another process (${owners.join(', ')}) is at it`,
            `wait for it or stop it; when it is something else: remove ${file}`,
          )
        await rm(file, { force: true })
      }
    }
  } finally {
    await rm(mine)
  }
  unfinished.add(file)
  try {
    return await work((program) => appendFileSync(file, `\n${program}`))
  } finally {
    await rm(file, { force: true })
    unfinished.delete(file)
  }
}
