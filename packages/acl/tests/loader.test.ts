import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { EngineInfo, EngineName, LoaderErrorDetails } from '../src/index.js'
import { describeUnlessEmulated } from './support/emulation.js'
import {
  type Circumstances,
  exportsOf,
  header,
  machines,
  manifest,
  nativeEntry,
  Project,
  permissionFlag,
  platform,
  pretended,
  program,
  version,
} from './support/project.js'

let project: Project | undefined
afterEach(() => project?.remove())

function created(store?: string): Project {
  project = new Project(store)
  return project
}

/** What a program sees that asks for an engine. */
interface Seen {
  engine?: EngineName
  isa?: string
  engines: EngineInfo[]
  error?: LoaderErrorDetails & { message: string; hasCause: boolean }
}

function ask(project: Project, circumstances?: Circumstances, engine?: EngineName): Seen {
  const code = `import { Attention, engines, LoaderError } from '@intattn/acl'
    const seen = {}
    try {
      const { engine, isa } = new Attention({ heads: 1, headDim: 8, engine: ${JSON.stringify(engine)} })
      Object.assign(seen, { engine, isa })
    } catch (error) {
      if (!(error instanceof LoaderError)) throw error
      seen.error = { ...error, message: error.message, hasCause: error.cause !== undefined }
    }
    console.log(JSON.stringify({ ...seen, engines: engines() }))`
  const { status, signal, stdout, stderr } = project.run(code, circumstances)
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
  return JSON.parse(stdout)
}

function refusal(project: Project, circumstances?: Circumstances, engine?: EngineName): NonNullable<Seen['error']> {
  const { error, engines } = ask(project, circumstances, engine)
  if (!error) return expect.fail('an engine was loaded')
  expect(error).toMatchObject({ code: 'UNAVAILABLE', argument: 'engine', engine: engine ?? 'native' })
  expect(error.message).not.toMatch(/\p{C}/u)
  expect(error.tried.length).toBeGreaterThan(0)
  for (const { path, reason } of error.tried) {
    expect(error.message).toContain(`${path} (${reason})`.replace(/[\s\p{C}]+/gu, ' '))
  }
  for (const remedy of error.remedies) expect(error.message).toContain(remedy)
  const listed = engines.find(({ name }) => name === error.engine)!
  expect(listed.available).toBe(false)
  expect(listed.place).toBeUndefined()
  return error
}

const placeOf = ({ engines, error }: Seen) => error?.message ?? engines[0]!.place

describe('the first place that has the addon', () => {
  test('is the platform package in an installed project', () => {
    const project = created()
    project.platformPackage()
    const seen = ask(project)
    expect(placeOf(seen)).toBe('platform package')
    expect(seen).toMatchObject({ engine: 'native' })
    expect(seen.isa).toMatch(/\w/)
  })

  test('is the local build where there is one', () => {
    const project = created()
    project.platformPackage()
    project.localBuild()
    expect(placeOf(ask(project))).toBe('local build')
  })

  test('may be the second, when the first does not load', () => {
    const project = created()
    project.platformPackage()
    project.localBuild(manifest(), { 'intattn.node': 'not a shared library' })
    expect(placeOf(ask(project))).toBe('platform package')
  })

  test('is found where pnpm puts it: beside the package, not above the program', () => {
    const project = created('.pnpm/@intattn+acl/node_modules/@intattn/acl')
    mkdirSync(join(project.root, 'node_modules/@intattn'))
    symlinkSync(project.package, join(project.root, 'node_modules/@intattn/acl'))
    const store = 'node_modules/.pnpm/platform'
    project.packageOfBinaries(store)
    symlinkSync(join(project.root, store), `${project.package}-${platform}`)
    expect(placeOf(ask(project))).toBe('platform package')
  })

  test('is looked for once', () => {
    const project = created()
    project.platformPackage()
    const { stdout, stderr } = project.run(`import { Attention } from '@intattn/acl'
      for (const INTATTN_ADDONS of ['', 'nowhere']) {
        process.env.INTATTN_ADDONS = INTATTN_ADDONS
        console.log(new Attention({ heads: 1, headDim: 8 }).engine)
      }`)
    expect({ stdout, stderr }).toEqual({ stdout: 'native\nnative\n', stderr: '' })
  })

  test('is found by a worker thread too', () => {
    const project = created()
    project.platformPackage()
    const { stdout, stderr } = project.run(`import { Worker, isMainThread } from 'node:worker_threads'
      import { fileURLToPath } from 'node:url'
      import { engines } from '@intattn/acl'
      console.log(engines()[0].place)
      if (isMainThread) new Worker(fileURLToPath(import.meta.url))`)
    expect({ stdout, stderr }).toEqual({ stdout: 'platform package\nplatform package\n', stderr: '' })
  })
})

describeUnlessEmulated('INTATTN_ADDONS', () => {
  test('names a folder, also a relative one, that comes before everything', () => {
    const project = created()
    project.localBuild()
    const folder = project.addons('mine')
    for (const INTATTN_ADDONS of [folder, './mine']) {
      expect(placeOf(ask(project, { env: { INTATTN_ADDONS } }))).toBe('INTATTN_ADDONS')
    }
    expect(placeOf(ask(project, { env: { INTATTN_ADDONS: '' } }))).toBe('local build')
  })

  test.each(['nowhere', 'package.json', 'a\nb\u001b[31m'])('names %j: nothing else is tried', (name) => {
    const project = created()
    project.platformPackage()
    project.localBuild()
    project.write('package.json', {})
    const { tried, remedies } = refusal(project, { env: { INTATTN_ADDONS: name } })
    expect(tried).toHaveLength(1)
    expect(tried[0]!.reason).toBe('no such file')
    expect(remedies[0]).toBe(
      `set INTATTN_ADDONS to a folder of addons of version ${version} for ${platform}, or unset it`,
    )
  })
})

describeUnlessEmulated('with no addon', () => {
  test('every place is told, and how to install it; the reference engine runs when it is asked for', () => {
    const project = created()
    const error = refusal(project)
    expect(error.platform).toBe(platform)
    expect(error.tried).toEqual([
      { path: join(project.package, 'build/Release/addons.json'), reason: 'no such file' },
      { path: `@intattn/acl-${platform}`, reason: 'not installed' },
    ])
    const [os, cpu] = platform.split('-')
    expect(error.remedies[0]).toContain(`npm install --include=optional @intattn/acl@${version}`)
    expect(error.remedies[1]).toContain(`npm install --os=${os} --cpu=${cpu}`)
    expect(error.remedies[2]).toContain(`npm install --save-optional @intattn/acl-${platform}@${version}`)
    expect(error.remedies.at(-1)).toContain("engine 'reference'")
    if (process.platform === 'linux') expect(error.detectedFeatures.length).toBeGreaterThan(0)
    expect(ask(project, {}, 'reference').engine).toBe('reference')
    expect(ask(project, { env: { INTATTN_ENGINE: 'reference' } }).engine).toBe('reference')
  })

  test('a checkout is to be built', () => {
    const project = created()
    mkdirSync(join(project.package, 'src'))
    const { remedies } = refusal(project)
    expect(remedies).toHaveLength(2)
    expect(remedies[0]).toContain('npm run build')
  })

  test.each(['win32-x64', 'linux-riscv64', 'darwin-x64', 'freebsd-x64'])('on %s, for which there are none', (name) => {
    const { tried, remedies, ...error } = refusal(created(), { machine: machines.platform(name) })
    expect(error.platform).toBe(name)
    expect(tried.at(-1)).toEqual({ path: `@intattn/acl-${name}`, reason: 'not published' })
    const text = remedies.join('\n')
    expect(text).toContain('darwin-arm64, linux-arm64, linux-x64')
    expect(text).toContain('npm run build')
    expect(text).not.toContain('npm install')
    expect(text.includes('Apple silicon')).toBe(name === 'darwin-x64')
  })

  test('where the C library is not glibc, a package would not help', () => {
    const machine = machines.platform('linux-x64') + machines.musl
    const { remedies } = refusal(created(), { machine })
    expect(remedies[0]).toMatch(/^use a system with glibc/)
    expect(remedies[1]).toContain('npm run build')
    expect(remedies.join()).not.toContain('npm install')
  })

  test('code that was moved away from its package says so', () => {
    const project = created()
    project.platformPackage()
    project.write('package.json', { name: 'app', version: '7.0.0' })
    const { stdout } = project.run(`import { cpSync } from 'node:fs'
      cpSync('node_modules/@intattn/acl/dist', 'bundle', { recursive: true })
      const { Attention } = await import('./bundle/index.js')
      try { new Attention({ heads: 1, headDim: 8 }) } catch ({ name, tried, remedies }) {
        console.log(JSON.stringify({ name, tried, remedies }))
      }
      console.log(new Attention({ heads: 1, headDim: 8, engine: 'reference' }).engine)`)
    const [answer, engine] = stdout.split('\n')
    const { name, tried, remedies } = JSON.parse(answer!)
    expect(name).toBe('LoaderError')
    expect(tried).toEqual([{ path: '@intattn/acl', reason: expect.stringContaining('bundled') }])
    expect(remedies[0]).toContain('leave @intattn/acl out of the bundle')
    expect(engine).toBe('reference')
  })
})

describeUnlessEmulated('a package that does not fit', () => {
  /** What became of the platform package's folder, or of a file in it. */
  function packageRefusal(project: Project, circumstances?: Circumstances) {
    const error = refusal(project, circumstances)
    const { path, reason } = error.tried.at(-1)!
    return { ...error, path, reason }
  }

  test('is of another version', () => {
    const project = created()
    const folder = project.platformPackage(manifest([], { version: '99.1.0' }))
    const { path, reason, remedies } = packageRefusal(project)
    expect(path).toBe(join(folder, 'addons.json'))
    expect(reason).toBe(`of version 99.1.0, and this package is ${version}`)
    expect(remedies[0]).toContain(`npm install --save-optional @intattn/acl-${platform}@${version}`)
  })

  test('is of another version, whatever else that version writes', () => {
    const project = created()
    project.platformPackage({ version: '99.1.0', addons: 'elsewhere' })
    expect(packageRefusal(project).reason).toContain('of version 99.1.0')
  })

  test('is for another platform', () => {
    const project = created()
    project.platformPackage(manifest(undefined, { platform: 'linux-s390x' }))
    const { reason, remedies } = packageRefusal(project)
    expect(reason).toBe(`built for linux-s390x, and this is ${platform}`)
    expect(remedies[0]).toMatch(/^remove .*acl-.* and install it again$/)
  })

  test.runIf(process.platform === 'linux')('wants a newer C library', () => {
    const project = created()
    const needs = (least: string) => manifest(undefined, { system: { name: 'glibc', version: least } })
    project.platformPackage(needs('2.17'))
    expect(placeOf(ask(project))).toBe('platform package')
    project.platformPackage(needs('2.170'))
    const { reason, remedies } = packageRefusal(project)
    expect(reason).toMatch(/^built for glibc 2\.170, and this is glibc 2\.\d+$/)
    expect(remedies.slice(0, 2)).toEqual(['use a system with a newer glibc', expect.stringContaining('npm run build')])
    expect(packageRefusal(project, { machine: machines.musl }).reason).toBe(
      "built for glibc 2.170, and this system's C library is musl or unknown",
    )
  })

  test.runIf(process.platform === 'linux')('finds the C library by a report where /proc is not mounted', () => {
    const project = created()
    project.platformPackage(manifest(undefined, { system: { name: 'glibc', version: '2.170' } }))
    const machine = `const fs = require('node:fs')
      const { readFileSync } = fs
      fs.readFileSync = (path, ...others) =>
        readFileSync(path === '/proc/self/maps' ? '/nowhere' : path, ...others)
      require('node:module').syncBuiltinESMExports()`
    expect(packageRefusal(project, { machine }).reason).toMatch(/this is glibc 2\.\d+$/)
  })

  test.runIf(process.platform === 'linux')('is checked without waiting for busy worker threads', () => {
    const project = created()
    project.platformPackage(manifest(undefined, { system: { name: 'glibc', version: '2.17' } }))
    // The worker is busy until it is told something, which a process that waited for it could not do: it would be given up.
    const { stdout, stderr } = project.run(`import { execFileSync } from 'node:child_process'
      import { once } from 'node:events'
      import { constants, openSync, writeSync } from 'node:fs'
      import { Worker } from 'node:worker_threads'
      import { engines } from '@intattn/acl'
      execFileSync('mkfifo', ['told'])
      const worker = new Worker(\`const { parentPort } = require('node:worker_threads')
        parentPort.postMessage('busy')
        const { execFileSync } = require('node:child_process')
        parentPort.postMessage(execFileSync('head', ['-c', '7', 'told'], { encoding: 'utf8', timeout: 60_000 }))\`, { eval: true })
      await once(worker, 'message')
      await new Promise((resolve) => setTimeout(resolve, 200))
      const [{ place }] = engines()
      writeSync(openSync('told', constants.O_RDWR | constants.O_NONBLOCK), 'in time')
      console.log(place, ...(await once(worker, 'message')))`)
    expect({ stdout, stderr }).toEqual({ stdout: 'platform package in time\n', stderr: '' })
  })

  test.each([
    ['19.6.0', '11.0', '10.15'],
    ['20.1.0', '12.0', '11'],
    ['24.5.0', '16', '15'],
    ['25.0.0', '27.0', '26'],
  ])('wants a newer macOS than Darwin %s', (release, least, here) => {
    const project = created()
    const mac = (version: string) =>
      manifest([{ ...nativeEntry, file: 'pretended.node' }], {
        platform: 'darwin-arm64',
        system: { name: 'macOS', version },
      })
    const members = "bestInstructionSet: () => 'scalar', Attention: class {}"
    const source = { 'pretended.node': pretended(members, 'darwin-arm64') }
    const machine = machines.platform('darwin-arm64') + machines.darwin(release)
    project.platformPackage(mac(least), source, 'darwin-arm64')
    const { reason, remedies } = packageRefusal(project, { machine })
    expect(reason).toBe(`built for macOS ${least}, and this is macOS ${here}`)
    expect(remedies.slice(0, 2)).toEqual(['use a system with a newer macOS', expect.stringContaining('npm run build')])
    project.platformPackage(mac(here), source, 'darwin-arm64')
    expect(
      project.run("import { Attention } from '@intattn/acl'; new Attention({ heads: 1, headDim: 1 })", { machine }),
    ).toMatchObject({ status: 0, stderr: '' })
  })

  test('lacks the file', () => {
    const project = created()
    const folder = project.platformPackage(manifest(), {})
    const { path, reason } = packageRefusal(project)
    expect({ path, reason }).toEqual({ path: join(folder, 'intattn.node'), reason: 'no such file' })
  })

  test('has no addon of the engine', () => {
    const project = created()
    project.platformPackage(manifest([]))
    expect(packageRefusal(project).reason).toBe("no addon of engine 'native'")
  })

  test.each([
    ['a library that the system does not load', '', /\w/],
    [
      'an addon of an older interface',
      'module.exports = { interfaceVersion: 1 }',
      /^built for interface 1, expected \d+$/,
    ],
    ['an addon from before interfaces', 'module.exports = {}', /^built for interface 0, expected \d+$/],
    ['nothing', 'module.exports = null', /null/],
    ['a library that throws', "throw new Error('no\\u0007\\nluck')", /^no $/],
  ])('has %s where the addon should be', (_, source, reason) => {
    const project = created()
    project.platformPackage(manifest(), { 'intattn.node': source ? program(source) : header() })
    const error = packageRefusal(project)
    expect(error.reason).toMatch(reason)
    expect(error.hasCause).toBe(true)
    expect(error.remedies[0]).toMatch(/^remove .* and install it again$/)
  })

  test('was damaged, which could end the process: it says so', () => {
    const project = created()
    const file = join(project.platformPackage(), 'intattn.node')
    const { size } = statSync(file)
    for (const left of [size - 1, 4096]) {
      truncateSync(file, left)
      const { path, reason, remedies } = packageRefusal(project)
      expect({ path, reason }).toEqual({ path: file, reason: `damaged: ${left} bytes of ${size}` })
      expect(remedies[0]).toBe(`remove ${dirname(file)} and install it again`)
    }
  })

  test('was signed anew, which makes it longer, and loads', () => {
    const project = created()
    const addon = pretended("bestInstructionSet: () => 'scalar', Attention: class {}")
    const folder = project.platformPackage(manifest(), { 'intattn.node': addon })
    appendFileSync(join(folder, 'intattn.node'), ' '.repeat(1000))
    const { stdout } = project.run(
      "import { Attention } from '@intattn/acl'; console.log(new Attention({ heads: 1, headDim: 1 }).engine)",
    )
    expect(stdout).toBe('native\n')
  })

  const other = platform.startsWith('darwin-') ? 'linux-arm64' : 'darwin-arm64'
  const foreign = platform.endsWith('-arm64') ? 'linux-x64' : 'linux-arm64'
  const others: Record<string, string | Buffer> = {
    'a program': `process.exit(7)${' '.repeat(100)}`,
    data: JSON.stringify({ interfaceVersion: 3, text: 'x'.repeat(100) }),
    'a few bytes of a library': header().subarray(0, 20),
    'a library for another system': header(other),
    'a library for another processor': header(foreign),
    'a program in machine code': Buffer.from(header('linux-x64')).fill(2, 16, 17),
  }
  test(`has something else under the name of an addon, which is not executed: ${Object.keys(others).join(', ')}`, () => {
    const project = created()
    const folder = project.platformPackage(manifest(), {})
    const contents = Object.values(others).map((content) => Buffer.from(content).toString('base64'))
    const { status, stdout, stderr } = project.run(`import { writeFileSync } from 'node:fs'
      import { join } from 'node:path'
      import { Attention } from '@intattn/acl'
      const folder = ${JSON.stringify(folder)}
      const manifest = ${JSON.stringify(manifest())}
      for (const content of ${JSON.stringify(contents)}) {
        const bytes = Buffer.from(content, 'base64')
        writeFileSync(join(folder, 'intattn.node'), bytes)
        Object.assign(manifest.addons[0], { size: bytes.length })
        writeFileSync(join(folder, 'addons.json'), JSON.stringify(manifest))
        try { new Attention({ heads: 1, headDim: 8 }) } catch ({ name, tried, cause }) {
          console.log(name, tried.at(-1).reason, cause)
        }
      }`)
    const line = `LoaderError no shared library for ${platform} undefined\n`
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: line.repeat(contents.length), stderr: '' })
  })

  test('leads to a program by a link, which is not executed', () => {
    const project = created()
    const folder = project.platformPackage(manifest(), {})
    symlinkSync(project.write('program.js', `process.exit(7)${' '.repeat(100)}`), join(folder, 'intattn.node'))
    project.record(`node_modules/@intattn/acl-${platform}`)
    expect(packageRefusal(project).reason).toBe(`no shared library for ${platform}`)
  })

  test('has an addon of several processors, this one among them, on a Mac', () => {
    const project = created()
    const [fat, other] = ['darwin-arm64', 'darwin-x64'].map((last) => {
      const bytes = Buffer.alloc(64)
      bytes.writeUInt32BE(0xcafebabe, 0)
      bytes.writeUInt32BE(2, 4)
      bytes.writeUInt32BE(7, 8)
      bytes.writeUInt32BE(header(last).readUInt32LE(4), 28)
      return bytes
    }) as [Buffer, Buffer]
    const content = pretended("bestInstructionSet: () => 'scalar', Attention: class {}", 'darwin-arm64')
    const circumstances = { machine: machines.platform('darwin-arm64') }
    const mac = manifest(undefined, { platform: 'darwin-arm64' })
    project.platformPackage(mac, { 'intattn.node': Buffer.concat([other, content]) }, 'darwin-arm64')
    expect(packageRefusal(project, circumstances).reason).toBe('no shared library for darwin-arm64')
    project.platformPackage(mac, { 'intattn.node': Buffer.concat([fat, content]) }, 'darwin-arm64')
    const { stdout } = project.run(
      "import { Attention } from '@intattn/acl'; console.log(new Attention({ heads: 1, headDim: 1 }).engine)",
      circumstances,
    )
    expect(stdout).toBe('native\n')
  })

  test('has a folder for an addons.json', () => {
    const project = created()
    const file = join(project.platformPackage(), 'addons.json')
    rmSync(file)
    mkdirSync(file)
    expect(packageRefusal(project).reason).toMatch(/^EISDIR/)
  })

  test('hides its package.json', () => {
    const project = created()
    const folder = project.platformPackage()
    project.write(join('node_modules/@intattn', `acl-${platform}`, 'package.json'), { version, exports: {} })
    const { reason } = packageRefusal(project)
    expect(reason).toMatch(/package\.json/)
    expect(existsSync(dirname(folder))).toBe(true)
  })
})

describeUnlessEmulated('an addon that makes no Attention', () => {
  test('says what it lacks: memory, other options, or whatever it was', () => {
    const project = created()
    const members = `cpuFeatures: () => [], instructionSets: () => [], bestInstructionSet: () => 'scalar',
      Attention: class { constructor() { throw globalThis.thrown } }`
    project.platformPackage(manifest(), { 'intattn.node': pretended(members) })
    const { stdout, stderr } = project.run(`import { Attention, IntAttnError } from '@intattn/acl'
      const shortage = Object.assign(new Error('std::bad_alloc'), { code: 'OUT_OF_MEMORY' })
      for (const thrown of [shortage, new TypeError('addon: isa: expected another'), new Error('no\\nluck'), 'no luck']) {
        globalThis.thrown = thrown
        try { new Attention({ heads: 1, headDim: 8, threads: 2 }) } catch (error) {
          console.log(error instanceof IntAttnError, error.cause === thrown, error.code, error.message)
        }
      }`)
    expect({ stdout, stderr }).toEqual({
      stdout: [
        'true true OUT_OF_MEMORY engine: expected memory to work with, received std::bad_alloc',
        'true true INVALID_ARGUMENT options: expected what the addon takes, received addon: isa: expected another',
        'true true ENGINE_FAILED engine: expected the addon to do its work, received no',
        'true true ENGINE_FAILED engine: expected the addon to do its work, received no luck',
        '',
      ].join('\n'),
      stderr: '',
    })
  })
})

describeUnlessEmulated('of several addons of an engine, the first whose CPU features are there', () => {
  const target = 'linux-arm64'
  const machine = machines.platform(target)
  const library = (cpu: string, requiredFeatures: string[]) => ({
    ...nativeEntry,
    engine: 'acl',
    file: `${cpu}.node`,
    cpu,
    computeLibrary: '24.11',
    compiler: 'clang 19.1.7',
    requiredFeatures,
  })
  const newer = library('armv8.6-a', ['asimd', 'asimdhp', 'i8mm'])
  const older = library('armv8.2-a', ['asimd', 'asimdhp'])

  /** A project where the native engine tells these features, and each addon of engine `acl` its name on being loaded. */
  function withFeatures(features: readonly string[], sources: Record<string, Buffer> = {}): Project {
    const project = created()
    const telling = (name: string) =>
      program(
        `process.stdout.write('${name}\\n'); ${exportsOf("bestInstructionSet: () => 'scalar', Attention: class {}")}`,
        target,
      )
    project.platformPackage(
      manifest([nativeEntry, newer, older], { platform: target }),
      {
        'intattn.node': pretended(`cpuFeatures: () => ${JSON.stringify(features)}, instructionSets: () => []`, target),
        'armv8.6-a.node': telling('armv8.6-a'),
        'armv8.2-a.node': telling('armv8.2-a'),
        ...sources,
      },
      target,
    )
    return project
  }
  const use = `import { Attention } from '@intattn/acl'
    for (let i = 0; i < 2; i++) new Attention({ heads: 1, headDim: 8, engine: 'acl' })`

  test.each([
    [['asimd', 'asimdhp', 'asimddp', 'i8mm'], 'armv8.6-a\n'],
    [['asimd', 'asimdhp', 'asimddp', 'i8mm', 'of a CPU to come'], 'armv8.6-a\n'],
    [['asimd', 'asimdhp', 'asimddp'], 'armv8.2-a\n'],
  ])('%j: is loaded, once, and no other', (features, stdout) => {
    expect(withFeatures(features).run(use, { machine })).toEqual({ status: 0, signal: null, stdout, stderr: '' })
  })

  test('is listed without being loaded', () => {
    const project = withFeatures(['asimd', 'asimdhp'])
    const { stdout } = project.run(
      "import { engines } from '@intattn/acl'; console.log(JSON.stringify(engines()[1]))",
      {
        machine,
      },
    )
    expect(JSON.parse(stdout)).toEqual({
      name: 'acl',
      available: true,
      place: 'platform package',
      instructionSets: [],
      library: {
        version: '24.11',
        target,
        cpu: 'armv8.2-a',
        compiler: 'clang 19.1.7',
        requires: older.requiredFeatures,
      },
    })
  })

  test('that does not load is followed by the next', () => {
    const project = withFeatures(['asimd', 'asimdhp', 'i8mm'], {
      'armv8.6-a.node': program('throw new Error()', target),
    })
    expect(project.run(use, { machine })).toMatchObject({ status: 0, stdout: 'armv8.2-a\n', stderr: '' })
  })

  test('without them nothing is loaded, and each lack is told', () => {
    const project = withFeatures(['asimd'])
    const { tried, detectedFeatures, requiredFeatures, remedies } = refusal(project, { machine }, 'acl')
    expect(tried.map(({ reason }) => reason)).toEqual([
      'no such file',
      'built for armv8.6-a, and this CPU lacks asimdhp, i8mm',
      'built for armv8.2-a, and this CPU lacks asimdhp',
    ])
    expect(detectedFeatures).toEqual(['asimd'])
    expect(requiredFeatures).toEqual(older.requiredFeatures)
    expect(remedies).toEqual([expect.stringContaining("engine 'native'")])
  })

  test('counts for the native engine as well, as far as the system tells them', () => {
    const project = created()
    const demanding = { ...nativeEntry, file: 'future.node', requiredFeatures: ['telepathy'] }
    project.platformPackage(manifest([demanding, nativeEntry]))
    expect(placeOf(ask(project))).toBe('platform package')
    project.platformPackage(manifest([demanding]))
    expect(refusal(project).tried.at(-1)!.reason).toBe('this CPU lacks telepathy')
  })
})

describeUnlessEmulated(
  'an obstacle outside of the package is named with what removes it, and not by installing again:',
  () => {
    /** The permission model, with what is allowed to be read. */
    const restricted = (read: readonly string[], ...others: string[]) => ({
      NODE_NO_WARNINGS: '1',
      NODE_OPTIONS: [permissionFlag, ...read.map((path) => `--allow-fs-read=${path}`), ...others].join(' '),
    })
    const needsGlibc = process.platform === 'linux' ? { system: { name: 'glibc', version: '2.17' } } : {}

    function removal(project: Project, circumstances: Circumstances): { reason: string; remedies: readonly string[] } {
      const { tried, remedies } = refusal(project, circumstances)
      expect(remedies.join('\n')).not.toMatch(/install it again|npm install/)
      return { reason: tried.at(-1)!.reason, remedies: remedies.slice(0, -1) }
    }

    test('--no-addons', () => {
      const project = created()
      project.platformPackage()
      const { remedies } = removal(project, { env: { NODE_OPTIONS: '--no-addons' } })
      expect(remedies).toEqual([expect.stringMatching(/^start Node\.js without --no-addons /)])
    })

    test('the permission model, until it allows to load addons', () => {
      const project = created()
      project.platformPackage(manifest(undefined, needsGlibc))
      expect(removal(project, { env: restricted(['*']) }).remedies).toEqual([
        'let Node.js load addons: --allow-addons beside --permission',
      ])
      expect(placeOf(ask(project, { env: restricted([`${realpathSync(project.root)}/`], '--allow-addons') }))).toBe(
        'platform package',
      )
    })

    test('the permission model, until it allows to read the package', () => {
      const project = created()
      project.platformPackage()
      const root = realpathSync(project.root)
      const read = ['program.mjs', 'machine.cjs', 'node_modules/@intattn/acl/'].map((path) => join(root, path))
      const { reason, remedies } = removal(project, { env: restricted(read, '--allow-addons') })
      expect(reason).toMatch(/restricted/)
      expect(remedies).toEqual([
        `let Node.js read the folder of @intattn/acl-${platform}: --allow-fs-read beside --permission`,
      ])
    })

    test.each([
      ['the package', ''],
      ['its module', 'index.cjs'],
      ['its addons.json', 'addons.json'],
      ['its addon', 'intattn.node'],
    ])('%s may not be read', (_, name) => {
      const project = created()
      const folder = project.platformPackage()
      chmodSync(project.root, 0o755)
      chmodSync(join(folder, name), 0)
      const { reason, remedies } = removal(project, { machine: machines.unprivileged })
      chmodSync(join(folder, name), 0o755)
      expect(reason).toMatch(/permission denied/i)
      expect(remedies).toEqual([expect.stringMatching(/^let the user that runs Node\.js read .*`chmod -R a\+rX`/)])
      expect(remedies[0]).toContain(`acl-${platform}`)
    })

    // The words of dlopen, after the path.
    test.each([
      [
        'failed to map segment from shared object',
        /^the file system of .* may hold no programs: mount it without noexec/,
      ],
      ['failed to map segment from shared object: Operation not permitted', /without noexec/],
      ['libatomic.so.1: cannot open shared object file: No such file or directory', /^install the shared library/],
      ["/lib/libc.so.6: version `GLIBC_2.99' not found (required by intattn.node)", /^use a system with /],
    ])('%s', (words, remedy) => {
      const project = created()
      project.platformPackage()
      const machine = `process.dlopen = (module, path) => {
      throw Object.assign(new Error(path + ': ' + ${JSON.stringify(words)}), { code: 'ERR_DLOPEN_FAILED' })
    }`
      const { reason, remedies } = removal(project, { machine })
      expect(reason).toContain(words)
      expect(remedies[0]).toMatch(remedy)
    })
  },
)
