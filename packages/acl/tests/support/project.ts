import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { interfaceVersion } from '../../src/addons/interface.js'
import { compiledModules } from './compile.js'

const local = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const packageJson = local('../../package.json')
const builtAddon = local('../../build/Release/intattn.node')

export const { version }: { version: string } = JSON.parse(readFileSync(packageJson, 'utf8'))
export const platform = `${process.platform}-${process.arch}`

/** An addon as `addons.json` lists it. */
export type Entry = Record<string, unknown>
export const nativeEntry: Entry = { engine: 'native', file: 'intattn.node', requiredFeatures: [] }
export const manifest = (addons: unknown = [nativeEntry], others: Entry = {}): Entry => ({
  version,
  platform,
  ...others,
  addons,
})

/** An addon that loads on every platform and machine: JavaScript. */
export const pretended = (members: string): string =>
  `module.exports = { interfaceVersion: ${interfaceVersion}, ${members} }`

export interface Answer {
  status: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** A folder with a program's dependencies as a package manager leaves them; removed by {@link Project.remove}. */
export class Project {
  readonly root: string
  readonly package: string
  /** Where the machine is emulated, Node.js needs them to start processes on it. */
  readonly #flags = process.execArgv.filter((flag) => flag.startsWith('--require='))

  /** @param store where the package lies, below `node_modules` */
  constructor(store = '@intattn/acl') {
    this.root = mkdtempSync(join(tmpdir(), 'intattn-project-'))
    this.package = join(this.root, 'node_modules', store)
    cpSync(compiledModules, join(this.package, 'dist'), { recursive: true })
    copyFileSync(packageJson, join(this.package, 'package.json'))
  }

  remove(): void {
    rmSync(this.root, { recursive: true })
  }

  write(path: string, content: string | object): string {
    const file = join(this.root, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
    return file
  }

  /** A folder of addons: the one that was built, unless there are `files`. */
  addons(folder: string, content: string | object = manifest(), files?: Readonly<Record<string, string>>): string {
    const file = this.write(join(folder, 'addons.json'), content)
    for (const [name, source] of Object.entries(files ?? {})) this.write(join(folder, name), source)
    if (!files) copyFileSync(builtAddon, join(dirname(file), 'intattn.node'))
    return dirname(file)
  }

  /** The package with binaries. */
  platformPackage(content?: string | object, files?: Readonly<Record<string, string>>, name = platform): string {
    const folder = `node_modules/@intattn/acl-${name}`
    this.write(join(folder, 'package.json'), { name: `@intattn/acl-${name}`, version })
    return this.addons(folder, content, files)
  }

  localBuild(content?: string | object, files?: Readonly<Record<string, string>>): string {
    return this.addons('node_modules/@intattn/acl/build/Release', content, files)
  }

  /** Runs a program of the project. `machine` is executed before it: code that makes the process look like another. */
  run(code: string, { env = {}, machine = '' }: Circumstances = {}): Answer {
    return this.#node([this.write('program.mjs', code)], env, machine)
  }

  doctor(args: readonly string[], { env = {}, machine = '', streams = [] }: Circumstances = {}): Answer {
    const { bin } = JSON.parse(readFileSync(join(this.package, 'package.json'), 'utf8'))
    return this.#node([join(this.package, bin.intattn), ...args], env, machine, streams)
  }

  #node(
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    machine: string,
    [out = 'pipe', errors = 'pipe']: Streams = [],
  ): Answer {
    const preload = `--require=${this.write('machine.cjs', machine)}`
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...this.#flags, preload, ...args], {
      cwd: this.root,
      stdio: ['pipe', out, errors],
      encoding: 'utf8',
      env: { ...withoutVariables, ...env },
      timeout: 280_000,
      maxBuffer: 2 ** 26,
    })
    return { status, signal, stdout, stderr }
  }
}

/** Where stdout and stderr go: a file descriptor, or to the answer. */
type Streams = readonly [stdout?: number | 'pipe', stderr?: number | 'pipe']

export interface Circumstances {
  env?: NodeJS.ProcessEnv
  machine?: string
  streams?: Streams
}

/** Both colour variables together make Node.js print a warning. */
const withoutVariables = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(INTATTN_(ENGINE|ISA|ADDONS)|FORCE_COLOR|NO_COLOR)$/.test(name)),
)

/** Code that makes a process look as if it ran elsewhere. */
export const machines = {
  platform: (name: string): string => {
    const [os, arch] = name.split('-')
    return `Object.defineProperties(process, { platform: { value: '${os}' }, arch: { value: '${arch}' } })\n`
  },
  /** A C library other than glibc. */
  musl: `const fs = require('node:fs')
    const { readFileSync } = fs
    fs.readFileSync = (path, ...others) => path === '/proc/self/maps'
      ? '7f00-7f01 r-xp 00000000 fe:00 1    /lib/ld-musl-x86_64.so.1\\n'
      : readFileSync(path, ...others)
    require('node:module').syncBuiltinESMExports()\n`,
  darwin: (release: string): string => `require('node:os').release = () => '${release}'
    require('node:module').syncBuiltinESMExports()\n`,
}
