#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { installation } from '../addons/installation.js'
import { firstLine, oneLine } from '../checks/describe.js'
import { diagnose } from './diagnose.js'
import { guardOutputStreams } from './output-streams.js'
import { jsonOf, textOf } from './text.js'

const help = `Usage: intattn doctor [--json] [--timeout <seconds>]

Says which engine of @intattn/acl runs here, which addons were found, what fits, what does not and
why, and what to do about it. Every addon that fits is tried in a process of its own.

Options:
  --json               the same for programs; the type DoctorReport of @intattn/acl describes it
  --timeout <seconds>  how long each addon may take (default: 30)
  -h, --help           this text
  -v, --version        the version of @intattn/acl

Exit codes: 0 the default engine works, 1 it does not, 2 the command line is wrong
`
const maxSeconds = 3600

/** A wrong command line. */
class UsageError extends Error {}

function readArguments(): { values: Record<string, string | boolean | undefined>; positionals: string[] } {
  const flag = { type: 'boolean' } as const
  const options = {
    json: flag,
    timeout: { type: 'string' },
    help: { ...flag, short: 'h' },
    version: { ...flag, short: 'v' },
  } as const
  try {
    return parseArgs({ options, allowPositionals: true })
  } catch (error) {
    throw new UsageError(firstLine(error))
  }
}

function secondsOf(timeout: unknown = '30'): number {
  const seconds = Number(timeout)
  if (timeout !== '' && seconds > 0 && seconds <= maxSeconds) return seconds
  throw new UsageError(`--timeout: expected seconds, at most ${maxSeconds}, received '${timeout}'`)
}

/** @returns the exit code */
async function main(): Promise<number> {
  const { values, positionals } = readArguments()
  const print = (text: string) => process.stdout.write(text)
  if (values.help) {
    print(help)
    return 0
  }
  if (values.version) {
    print(`${installation()?.version ?? 'unknown'}\n`)
    return 0
  }
  if (positionals.join() !== 'doctor') {
    throw new UsageError(`expected the command doctor, received '${positionals.join(' ')}'`)
  }
  const report = await diagnose(1000 * secondsOf(values.timeout))
  print(values.json ? jsonOf(report) : textOf(report))
  return report.default.works ? 0 : 1
}

guardOutputStreams()
try {
  const code = await main()
  // Where stdout is lost, that is known already.
  process.exitCode ||= code
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`intattn: ${oneLine(error.message)}\n\n${help}`)
  process.exitCode = 2
}
