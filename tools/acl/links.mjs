import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { $ } from 'zx/core'

const program = '#include <new>\nint main() { return *new (std::nothrow) int(); }\n'

/**
 * What a C++ compiler has against a program that uses C++'s library; undefined when it makes it.
 * @param {string[]} compiler with flags
 * @param {object} [options]
 * @param {string[]} [options.libraries]
 * @param {NodeJS.ProcessEnv} [options.env]
 */
export async function complaintOf(compiler, { libraries = [], env = process.env } = {}) {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'intattn-program-'))
  try {
    const source = path.join(directory, 'program.cc')
    await writeFile(source, program)
    const command = [...compiler, source, '-o', path.join(directory, 'program'), ...libraries]
    const made = await $({ nothrow: true, quiet: true, env: { ...env, LC_ALL: 'C' } })`${command}`
    if (made.exitCode === 0) return undefined
    const said = made.stderr.replaceAll(`${directory}${path.sep}`, '').split('\n')
    return said.find((line) => /\S/.test(line) && !/warning:/.test(line)) ?? `it ended with ${made.exitCode}`
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
