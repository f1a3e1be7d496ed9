// Tools that come as Python packages: where the machine has none of its own, a build installs them, as locked, into this checkout.
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { $ } from 'zx/core'
import { Unavailable } from './problem.mjs'
import { alone, whole } from './temporary.mjs'

/** @typedef {'scons' | 'zig' | 'cmake' | 'ninja'} Tool */

/** @param {Tool} tool */
const requirementsOf = (tool) => path.join(import.meta.dirname, 'requirements', `${tool}.txt`)

/** @param {Tool} tool */
export async function lockedVersion(tool) {
  const [, version] = /==(\S+)/.exec(await readFile(requirementsOf(tool), 'utf8')) ?? []
  return version
}

/**
 * The Python that has a tool, when it was installed as it is locked now.
 * @param {import('./layout.mjs').Layout} layout
 * @param {Tool} tool
 */
export async function pythonWith(layout, tool) {
  const environment = path.join(layout.python, tool)
  const stamp = await readFile(path.join(environment, 'requirements.txt'), 'utf8').catch(() => '')
  const python = path.join(environment, 'bin/python3')
  return stamp === (await readFile(requirementsOf(tool), 'utf8')) && existsSync(python) ? python : undefined
}

/** How the packages that are only programs tell where these are. */
const places = {
  zig: 'import os, ziglang; print(os.path.dirname(ziglang.__file__))',
  cmake: 'import cmake; print(cmake.CMAKE_BIN_DIR)',
  ninja: 'import ninja; print(ninja.BIN_DIR)',
}

/**
 * The folder of a tool's program, where a Python has that tool.
 * @param {string} python
 * @param {keyof typeof places} tool
 */
export async function folderIn(python, tool) {
  const { exitCode, stdout } = await $({ nothrow: true, quiet: true })`${python} -c ${places[tool]}`
  return exitCode === 0 ? stdout.trim() : undefined
}

/** Whether this machine's Python can make virtual environments. */
export async function canInstall() {
  const { exitCode } = await $({ nothrow: true, quiet: true })`python3 -c ${'import ensurepip, venv'}`
  return exitCode === 0
}

/**
 * Installs a tool, or fails saying why it cannot be had.
 * @param {import('./layout.mjs').Layout} layout
 * @param {Tool} tool
 * @param {(text: string) => void} say
 */
export async function install(layout, tool, say) {
  const environment = path.join(layout.python, tool)
  const installed = async () => {
    if (await pythonWith(layout, tool)) return
    say(`installing ${tool} ${await lockedVersion(tool)} in ${layout.name(layout.python)}`)
    const run = $({ nothrow: true, quiet: true })
    await whole(environment, async (partial) => {
      const requirements = requirementsOf(tool)
      const pip = [path.join(partial, 'bin/python3'), '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
      const made = await run`python3 -m venv ${partial}`
      const done =
        made.exitCode === 0 ? await run`${pip} --require-hashes --only-binary=:all: -r ${requirements}` : made
      if (done.exitCode !== 0) throw new Unavailable(`${tool} could not be installed`, done.text().trim())
      await writeFile(path.join(partial, 'requirements.txt'), await readFile(requirements))
    })
  }
  await alone(path.join(layout.python, `${tool}.lock`), `installing ${tool}`, installed, { patience: 600, say })
}
