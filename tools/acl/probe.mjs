import { rm } from 'node:fs/promises'
import path from 'node:path'
import { $ } from 'zx/core'
import { wordsOf } from './compilers.mjs'
import { Problem } from './problem.mjs'
import { firstError } from './scons.mjs'

/**
 * Links a program that refers to all that the engine uses: a library that lacks something is told here, not later.
 * @param {object} options
 * @param {NodeJS.ProcessEnv & { CXX: string }} options.env
 * @param {string[]} options.flags
 * @param {string} options.prefix with include/ and the library
 * @param {string} options.library
 * @param {boolean} options.full whether every operator was built
 */
export async function linkProbe({ env, flags, prefix, library, full }) {
  const source = path.join(import.meta.dirname, 'probe.cc')
  const out = path.join(prefix, 'probe')
  const command = [
    ...[...wordsOf(env.CXX), '-std=c++17', '-w', '-isystem', path.join(prefix, 'include'), source, library],
    ...[...flags, '-o', out],
  ]
  const linked = await $({ nothrow: true, quiet: true, env })`${command}`
  await rm(out, { force: true })
  if (linked.exitCode !== 0)
    throw new Problem(
      'the library was built, but a program with what the engine uses does not link',
      firstError(linked.stderr),
      full ? '' : 'if the operator set lacks something in this version: --full builds everything',
    )
}
