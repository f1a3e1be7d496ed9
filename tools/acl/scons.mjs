import { createWriteStream } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { $ } from 'zx/core'
import { groupEnded } from './interrupt.mjs'
import { Problem, saysDiskFull } from './problem.mjs'

/** scons came to its end, and has written down which objects are whole. */
export class Failed extends Problem {}

const isCompilation = (line) => / -c /.test(line) && / -o (\S+\.os?) /.test(line)

/**
 * The compiler's first error in a log: the lines around it that belong to it.
 * @param {string} log
 */
export function firstError(log) {
  const lines = log.split('\n').filter((line) => !isCompilation(line))
  const at = lines.findIndex((line) => /(^|\s)(fatal )?error:|undefined reference|\*\*\* \[|^scons: \*\*\*/.test(line))
  if (at === -1) return lines.filter(Boolean).slice(-10).join('\n')
  let start = at
  while (start > 0 && /^(In file included from|\s+from) /.test(lines[start - 1])) start -= 1
  let end = at + 1
  while (end < lines.length && end < at + 12 && /^(\s|[^:]+:\d+:\d+: note:)/.test(lines[end])) end += 1
  return lines.slice(start, end).join('\n')
}

/**
 * Shows how far a build is: one line that is rewritten on a terminal, a line at every tenth elsewhere.
 * @param {string} what
 * @param {number} total
 * @param {NodeJS.WriteStream} stream
 */
export function progressOf(what, total, stream = process.stderr) {
  let tenth = 0
  return {
    /** @param {number} compiled @param {string} file */
    step(compiled, file) {
      const done = Math.min(compiled, total)
      if (stream.isTTY) stream.write(`\r\x1b[K${what} ${done}/${total} ${file}`.slice(0, (stream.columns ?? 80) + 3))
      else if (Math.floor((10 * done) / total) > tenth) {
        tenth = Math.floor((10 * done) / total)
        stream.write(`${what} ${done}/${total}\n`)
      }
    },
    end: () => stream.isTTY && stream.write('\r\x1b[K'),
  }
}

/**
 * Runs scons in a tree. What it prints goes to a log; of a failure, the compiler's first error is the message. Unless that is a
 * `Failed`, scons may have left objects that it takes for what they are not.
 * @param {object} options
 * @param {string[]} options.scons
 * @param {string} options.tree
 * @param {string[]} options.args
 * @param {number} options.jobs
 * @param {NodeJS.ProcessEnv} options.env
 * @param {string} options.what
 * @param {string} options.log
 * @param {string} options.logName as messages name it
 * @param {(program: number) => void} options.started is told the process that may outlive this one
 */
export async function runScons({ scons, tree, args, jobs, env, what, log, logName, started }) {
  const run = $({
    nothrow: true,
    quiet: true,
    cwd: tree,
    env: {
      ...env,
      PYTHONUNBUFFERED: '1',
      // The version text in the library must not name a commit of the repository around the tree, nor of a hook's.
      GIT_DIR: '/dev/null',
    },
  })
  await mkdir(path.dirname(log), { recursive: true })
  const command = [...scons, ...args]
  const dry = await run`${command} -n -Q 2>&1`
  if (dry.exitCode !== 0) {
    await writeFile(log, dry.stdout)
    throw new Failed(`${what} failed`, firstError(dry.stdout), `everything it printed: ${logName}`)
  }
  const total = dry.stdout.split('\n').filter(isCompilation).length
  const stream = createWriteStream(log, { flags: 'a' })
  /** @type {Error | undefined} */
  let unwritten
  stream.on('error', (error) => {
    unwritten = error
  })
  stream.write(`${command.join(' ')}\n`)
  const progress = progressOf(what, total)
  const running = run`${command} -Q -j${jobs} 2>&1`
  const group = running.pid
  if (group) started(group)
  let done = 0
  try {
    for await (const line of running) {
      stream.write(`${line}\n`)
      if (!isCompilation(line)) continue
      done += 1
      progress.step(done, path.basename(line.match(/ -o (\S+?)\.os? /)?.[1] ?? ''))
    }
  } catch (error) {
    progress.end()
    if (group) await groupEnded(group)
    throw error
  }
  progress.end()
  const { exitCode, signal } = await running
  await new Promise((resolve) => stream.end(resolve))
  if (unwritten) throw unwritten
  if (exitCode === 0) return total
  const text = await readFile(log, 'utf8')
  if (saysDiskFull(text)) throw new Problem(`${what} failed: the disk is full`, `log: ${logName}`)
  // A shell passes on by which signal its program was ended.
  const killed = signal ?? (exitCode === 137 || /(^|\s)Killed($|\s)|signal 9/m.test(text) ? 'SIGKILL' : undefined)
  const place = `everything it printed: ${logName}`
  if (!killed && Number(exitCode) < 128) throw new Failed(`${what} failed`, firstError(text), place)
  const how = killed ? `killed by ${killed}: with too little memory, --jobs 1 helps` : `ended with ${exitCode}`
  throw new Problem(`${what} failed`, firstError(text), how, place)
}
