import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { interfaceVersion } from '../../src/addons/interface.js'
import { compiledModules } from './compile.js'

const local = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const packageJson = local('../../package.json')
export const builtAddon = local('../../build/Release/intattn.node')

export const { version }: { version: string } = JSON.parse(readFileSync(packageJson, 'utf8'))
export const platform = `${process.platform}-${process.arch}`

/** An addon as `addons.json` lists it. */
export type Entry = Record<string, unknown>
export const nativeEntry: Entry = {
  engine: 'native',
  file: 'intattn.node',
  size: 1,
  sha256: '0'.repeat(64),
  requiredFeatures: [],
}
export const manifest = (addons: unknown = [nativeEntry], others: Entry = {}): Entry => ({
  version,
  platform,
  ...others,
  addons,
})

/** What a binary for a platform begins with. */
export function header(name = platform): Buffer {
  const bytes = Buffer.alloc(64)
  if (name.startsWith('darwin-')) {
    bytes.writeUInt32LE(0xfeedfacf, 0)
    bytes.writeUInt32LE(name.endsWith('-arm64') ? 0x100000c : 0x1000007, 4)
    bytes.writeUInt32LE(6, 12)
    return bytes
  }
  bytes.write('\x7fELF', 'latin1')
  bytes.writeUInt16LE(3, 16)
  bytes.writeUInt16LE(name.endsWith('-arm64') ? 183 : 62, 18)
  return bytes
}

const mark = '/* pretended */'

/** A binary that does what this JavaScript does, in the programs of a {@link Project}. */
export const program = (source: string, name = platform): Buffer =>
  Buffer.concat([header(name), Buffer.from(mark + source)])

/** JavaScript that makes a module look like an addon. */
export const exportsOf = (members: string): string =>
  `module.exports = { interfaceVersion: ${interfaceVersion}, ${members} }`

/** An addon that loads on every machine. */
export const pretended = (members: string, name?: string): Buffer => program(exportsOf(members), name)

/** Lets Node.js load a {@link program}. */
const loader = `{
  const { _extensions } = require('node:module')
  const load = _extensions['.node']
  _extensions['.node'] = (module, file) => {
    const [, source] = require('node:fs').readFileSync(file, 'latin1').split(${JSON.stringify(mark)})
    if (source === undefined) load(module, file)
    else module._compile(source, file)
  }
}\n`

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

  write(path: string, content: Uint8Array | string | object): string {
    const file = join(this.root, path)
    mkdirSync(dirname(file), { recursive: true })
    const isWhole = typeof content === 'string' || content instanceof Uint8Array
    writeFileSync(file, isWhole ? content : JSON.stringify(content))
    return file
  }

  /** A folder of addons: the one that was built, unless there are `files`. */
  addons(folder: string, content: string | object = manifest(), files?: Files): string {
    const file = this.write(join(folder, 'addons.json'), content)
    for (const [name, source] of Object.entries(files ?? {})) this.write(join(folder, name), source)
    if (!files) copyFileSync(builtAddon, join(dirname(file), 'intattn.node'))
    this.record(folder)
    return dirname(file)
  }

  /** Writes sizes and digests of the files that are there into the `addons.json` of a folder. */
  record(folder: string): void {
    const file = join(this.root, folder, 'addons.json')
    const text = readFileSync(file, 'utf8')
    if (!text.startsWith('{"')) return
    const content = JSON.parse(text)
    if (!Array.isArray(content.addons)) return
    for (const entry of content.addons) {
      const binary = join(dirname(file), entry.file)
      if (!existsSync(binary)) continue
      const bytes = readFileSync(binary)
      Object.assign(entry, { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') })
    }
    this.write(join(folder, 'addons.json'), content)
  }

  /** The package with binaries. */
  platformPackage(content?: string | object, files?: Files, name = platform): string {
    const folder = `node_modules/@intattn/acl-${name}`
    this.write(join(folder, 'package.json'), { name: `@intattn/acl-${name}`, version })
    return this.addons(folder, content, files)
  }

  localBuild(content?: string | object, files?: Files): string {
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
    const preload = `--require=${this.write('machine.cjs', loader + machine)}`
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
type Files = Readonly<Record<string, string | Uint8Array>>

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
