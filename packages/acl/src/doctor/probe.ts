import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { isDenied } from '../addons/obstacles.js'
import { firstLine } from '../checks/describe.js'
import type { Message, Outcome } from './messages.js'
import type { ProbeVerdict } from './report.js'

/** How a child process fared. */
export interface Probe extends Omit<Outcome, 'verdict'> {
  verdict: ProbeVerdict
}

/** What signals mean when code that was just loaded ends a process. */
const meanings: Partial<Record<NodeJS.Signals, string>> = {
  SIGILL: 'this CPU lacks an instruction it uses',
  SIGKILL: process.platform === 'darwin' ? 'macOS does not accept its code signature' : 'memory may have run out',
  SIGSEGV: 'it reached for memory that is not there',
  SIGBUS: 'it reached for memory that is not there',
  SIGABRT: 'it gave up',
}

/** Runs `child.ts` with these arguments, in its own process. Never rejects. */
export async function probe(args: readonly string[], timeLimitMs: number): Promise<Probe> {
  try {
    const program = fileURLToPath(new URL('./child.js', import.meta.url))
    return await fateOf(fork(program, args, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] }), timeLimitMs)
  } catch (error) {
    const remedies = isDenied(error)
      ? ['let Node.js start processes: --allow-child-process beside --permission']
      : undefined
    return { verdict: 'crashed', reason: `no process for it: ${firstLine(error)}`, ...(remedies && { remedies }) }
  }
}

async function fateOf(child: ChildProcess, timeLimitMs: number): Promise<Probe> {
  let doing = 'starting'
  let outcome: Outcome | undefined
  let complaint = ''
  child.on('message', (message: Message) => {
    if ('outcome' in message) outcome = message.outcome
    doing = 'outcome' in message ? 'ending' : message.doing
  })
  child.stderr?.on('data', (chunk) => {
    complaint ||= firstLine(String(chunk).trim())
  })
  const { code, signal } = await end(child, timeLimitMs)
  if (code === null && signal === null) {
    return { verdict: 'hung', reason: `was still ${doing} after ${timeLimitMs / 1000} s` }
  }
  if (outcome && code === 0) return outcome
  const meaning = signal ? meanings[signal] : complaint
  const manner = signal ?? `exit code ${code}`
  return { verdict: 'crashed', reason: `ended by ${manner} while ${doing}${meaning ? `: ${meaning}` : ''}` }
}

/** How a process ended; one that has not by the time limit is killed. */
function end(
  child: ChildProcess,
  timeLimitMs: number,
): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      resolve({ code: child.exitCode, signal: child.signalCode })
      child.kill('SIGKILL')
      // A process that it left behind may hold on to these.
      child.stderr?.destroy()
      if (child.connected) child.disconnect()
    }, timeLimitMs)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal })
    })
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
  })
}
