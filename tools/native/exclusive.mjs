// Runs a program that builds in the checkout it is started in, alone: node tools/native/exclusive.mjs PROGRAM ARGUMENT …
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { messageOf, Problem } from '../acl/problem.mjs'
import { alone } from '../acl/temporary.mjs'

/** Where a build says that it is at it, in the checkout. */
const lock = path.join('build', 'native.lock')
/** Tells programs that are started with it that they have the lock already. */
const variable = 'INTATTN_BUILD_LOCK'

const benchmark = 'packages/bench/dist/main.js'
const readOnly = ['EROFS', 'EACCES', 'EPERM']

/**
 * @typedef {object} Held
 * @property {number} [waitedSince] when another process was found to be at it, in ms since 1970
 * @property {NodeJS.ProcessEnv} env for programs that are started
 * @property {(program: number) => void} alsoOf names those that may outlive this process
 */

/**
 * Does something that no other process may do at the same time in this checkout: two compilers would write the same files. Waits for
 * whoever is at it, and says so. What this starts may do the same again.
 * @template T
 * @param {(held: Held) => Promise<T>} work
 */
export async function exclusively(work) {
  const file = path.resolve(lock)
  if (process.env[variable] === file) return work({ env: process.env, alsoOf: () => {} })
  /** @type {number | undefined} */
  let waitedSince
  const say = (text) => {
    waitedSince = Date.now()
    process.stderr.write(`${text}\n`)
  }
  const held = (alsoOf) => work({ waitedSince, env: { ...process.env, [variable]: file }, alsoOf })
  try {
    return await alone(file, 'a build in this checkout', held, { patience: Number.POSITIVE_INFINITY, say })
  } catch (error) {
    if (!readOnly.includes(error.code) || !error.path) throw error
    const built = existsSync(benchmark)
      ? `what is built runs as it is: node ${benchmark}`
      : 'nothing is built yet: copy the checkout to where it can be written, and build there'
    throw new Problem(`nothing can be built in this checkout: ${messageOf(error)} (${error.code})`, built)
  }
}

/** @param {string} program @param {string[]} args */
const run = (program, args) =>
  exclusively(
    ({ env, alsoOf }) =>
      new Promise((resolve, reject) => {
        const child = spawn(program, args, { stdio: 'inherit', env })
        child.on('spawn', () => alsoOf(/** @type {number} */ (child.pid)))
        child.on('error', reject)
        child.on('close', (code, signal) => resolve({ code, signal }))
      }),
  )

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  try {
    const [program, ...args] = process.argv.slice(2)
    if (!program) throw new Problem('expected a program to run, received none')
    const { code, signal } = await run(program, args)
    if (signal) process.kill(process.pid, signal)
    process.exitCode = code
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`)
    process.exitCode = 1
  }
