#!/usr/bin/env node
import { IntAttnError } from '@intattn/acl'
import { bench } from './bench.js'
import { parseFlags } from './cli.js'
import { describeMachine } from './machine.js'
import { createProgress } from './progress.js'
import { checkWritable, formatJson, writeAtomically } from './report/json.js'
import { formatMachine, formatNotes, formatTable } from './report/table.js'
import { UsageError } from './usage-error.js'

/** The flag that sets an option of the API. */
const FLAG_OF: Readonly<Record<string, string>> = {
  pipeline: '--pipe',
  heads: '--heads',
  kvHeads: '--kv-heads',
  headDim: '--d',
  threads: '--threads',
  engine: '--engine',
  isa: '--isa',
  preset: '--preset',
  query: '--input',
  key: '--input',
  value: '--input',
  'key.dims[2]': '--L',
}

const progress = createProgress()

async function main(): Promise<void> {
  const options = parseFlags(process.argv.slice(2))
  if (!options) return
  const { json } = options
  if (json !== undefined && json !== '-') checkWritable(json)
  const machine = describeMachine()
  // With JSON on stdout, the table goes to a person at the terminal, if there is one.
  const silent = json === '-' && !process.stderr.isTTY
  const print = (text: string) => {
    if (!silent) (json === '-' ? process.stderr : process.stdout).write(`${text}\n`)
  }
  const tables = await bench(options, progress, {
    onStart: () => print(formatMachine(machine)),
    onTable: (table) => print(formatTable(table)),
  })
  print(formatNotes(tables).trimEnd())
  if (json === undefined) return
  const text = formatJson(machine, tables)
  if (json === '-') process.stdout.write(text)
  else writeAtomically(json, text)
}

function usageErrorOf(error: unknown): UsageError | undefined {
  if (error instanceof UsageError) return error
  if (error instanceof RangeError && /array/i.test(error.message)) {
    return new UsageError('--L', 'tensors that can be allocated', error.message)
  }
  if (!(error instanceof IntAttnError)) return undefined
  return new UsageError(FLAG_OF[error.argument] ?? error.argument, error.expected, error.received)
}

process.on('SIGINT', () => {
  progress.stop()
  process.exit(130)
})
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  progress.stop()
  process.exit(0)
})

try {
  await main()
} catch (error) {
  progress.stop()
  const usageError = usageErrorOf(error)
  if (!usageError) throw error
  process.stderr.write(`intattn-bench: ${usageError.message.replaceAll(/\s*\n\s*/g, ' ')}\n`)
  process.exitCode = 2
}
