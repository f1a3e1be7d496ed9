#!/usr/bin/env node
import { type ErrorCode, IntAttnError } from '@intattn/acl'
import { bench } from './bench.js'
import { parseFlags } from './cli.js'
import { describeMachine } from './machine.js'
import { guardOutputStreams } from './output-streams.js'
import { printable, printableLines } from './printable.js'
import { createProgress } from './progress.js'
import { formatJson } from './report/json.js'
import { formatOverview } from './report/overview.js'
import { formatMachine, formatNotes, formatTable } from './report/table.js'
import { openResultFile } from './result-file.js'
import { UsageError } from './usage-error.js'

/** The flag that sets an option of the API. */
const FLAG_OF: Readonly<Record<string, string>> = {
  pipeline: '--pipe',
  heads: '--heads',
  kvHeads: '--kv-heads',
  headDim: '--d',
  threads: '--threads',
  softmaxScale: '--input',
  engine: '--engine',
  isa: '--isa',
  preset: '--preset',
  query: '--input',
  key: '--input',
  value: '--input',
  'key.dims[2]': '--L',
}

/** Errors of the API that tell of what was asked for; others tell of this program, or of this machine. */
const USAGE_CODES: readonly ErrorCode[] = [
  'INVALID_ARGUMENT',
  'UNKNOWN_OPTION',
  'SHAPE_MISMATCH',
  'NON_FINITE',
  'UNAVAILABLE',
]

const progress = createProgress()

function fail(message: string, exitCode: number): void {
  progress.stop()
  process.stderr.write(`intattn-bench: ${printable(message.replaceAll(/\s*\n\s*/g, ' '))}\n`)
  process.exitCode = exitCode
}

async function main(): Promise<void> {
  let isStdoutOpen = true
  /** Whether a file waits for results, whatever becomes of stdout. */
  let hasFile = false
  guardOutputStreams({
    onClosed() {
      isStdoutOpen = false
      if (hasFile) return
      progress.stop()
      process.exit()
    },
    onError(message) {
      isStdoutOpen = false
      fail(message, 1)
      if (!hasFile) process.exit()
    },
  })
  const options = parseFlags(process.argv.slice(2))
  if (!options) return
  const { json } = options
  const file = json === undefined || json === '-' ? undefined : openResultFile(json)
  hasFile = file !== undefined
  const machine = describeMachine()
  // With JSON on stdout, the table goes to a person at the terminal, if there is one.
  const print = (text: string) => {
    const [stream, isRead] = json === '-' ? [process.stderr, process.stderr.isTTY] : [process.stdout, isStdoutOpen]
    if (isRead) stream.write(`${printableLines(text)}\n`)
  }
  const { callOverheadUs, tables } = await bench(options, progress, {
    onStart: () => print(formatMachine(machine)),
    onTable: (table) => print(formatTable(table)),
  })
  if (tables.length > 1) print(formatOverview(tables))
  print(formatNotes(callOverheadUs, tables).trimEnd())
  if (json === undefined) return
  const text = formatJson(machine, callOverheadUs, tables)
  try {
    if (file) file.write(text)
    else process.stdout.write(text)
  } catch (error) {
    fail(`${(error as Error).message}; the results go to stdout`, 1)
    process.stdout.write(text)
  }
}

function usageErrorOf(error: unknown): UsageError | undefined {
  if (error instanceof UsageError) return error
  if (!(error instanceof IntAttnError) || !USAGE_CODES.includes(error.code)) return undefined
  // What no flag or variable sets is this program's own mistake.
  const flag = error.argument.startsWith('INTATTN_') ? error.argument : FLAG_OF[error.argument]
  return flag === undefined ? undefined : new UsageError(flag, error.expected, error.received)
}

try {
  await main()
} catch (error) {
  const usageError = usageErrorOf(error)
  if (usageError) fail(usageError.message, 2)
  else fail(error instanceof Error ? error.message : String(error), 1)
}
