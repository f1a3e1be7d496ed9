import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { type DoctorReport, engines } from '../src/index.js'
import { compileLibrary, noCompiler } from './support/compiler.js'
import { describeUnlessEmulated } from './support/emulation.js'
import {
  builtAddon,
  type Circumstances,
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

function created(): Project {
  project = new Project()
  return project
}

/** Emulated, a process takes many seconds. */
const patient = ['--timeout', '100']

/** Makes the program itself, unlike the processes it starts, unable to load a binary. */
const guard = "if (!process.send) process.dlopen = () => { throw new Error('loaded by doctor itself') }\n"

function examined(project: Project, { env = {}, machine = '' }: Circumstances = {}, ...args: string[]): DoctorReport {
  const { status, signal, stdout, stderr } = project.doctor(['doctor', '--json', ...patient, ...args], {
    env,
    machine: guard + machine,
  })
  expect({ signal, stderr }).toEqual({ signal: null, stderr: '' })
  const report: DoctorReport = JSON.parse(stdout)
  expect(status).toBe(report.default.works ? 0 : 1)
  expect(report.remedies.length > 0).toBe(!report.default.works)
  return report
}

/** The first addon of the last place. */
const lastAddon = ({ places }: DoctorReport) => places.at(-1)!.addons[0]

function readable(project: Project, circumstances: Circumstances = {}): string {
  const { stdout, stderr } = project.doctor(['doctor', ...patient], circumstances)
  expect(stderr).toBe('')
  // A path is a word, and words are not broken.
  for (const line of stdout.split('\n'))
    if (line.trim().includes(' ')) expect(line.length, line).toBeLessThanOrEqual(96)
  expect(stdout).not.toMatch(/[^\P{C}\n]/u)
  return stdout.replaceAll(/\s+/g, ' ')
}

const [native] = engines()
const sets = native!.instructionSets.filter(({ available }) => available).map(({ name }) => name)

describe('doctor', () => {
  test('tells what is used where all is well', () => {
    const project = created()
    project.platformPackage()
    const report = examined(project)
    expect(report).toMatchObject({
      version,
      platform,
      node: process.version,
      environment: { INTATTN_ENGINE: null, INTATTN_ISA: null, INTATTN_ADDONS: null },
      default: { works: true, engine: 'native', isa: sets.at(-1), place: 'platform package' },
      remedies: [],
    })
    expect(report.cpuFeatures.length).toBeGreaterThan(0)
    if (process.platform === 'linux') expect(report.system).toEqual({ name: 'glibc', version: expect.any(String) })
    const [build, installed] = report.places
    expect(build).toMatchObject({ place: 'local build', reason: 'no such file', addons: [] })
    expect(installed!.reason).toBeUndefined()
    const bytes = readFileSync(builtAddon)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const entry = { ...nativeEntry, size: bytes.length, sha256 }
    expect(installed!.addons).toEqual([{ ...entry, verdict: 'works', instructionSets: sets }])
    const text = readable(project)
    for (const part of [
      version,
      platform,
      process.version,
      report.cpuFeatures.join(' '),
      `works with ${sets.join(', ')}`,
    ]) {
      expect(text).toContain(part)
    }
    expect(text).toContain(`Default: engine native with ${sets.at(-1)} (platform package), which works`)
    expect(text).not.toContain('What to do')
  })
})

describeUnlessEmulated('doctor, where all is not well,', () => {
  test('tells what is missing, and how to get it', () => {
    const report = examined(created())
    expect(report.default).toEqual({ works: false, reason: expect.stringContaining('not installed') })
    expect(report.places.map(({ reason }) => reason)).toEqual(['no such file', 'not installed'])
    expect(report.remedies.join()).toContain(`npm install --save-optional @intattn/acl-${platform}@${version}`)
    const text = readable(project!)
    for (const part of ['not installed', 'Default: none', 'What to do:', ...report.remedies])
      expect(text).toContain(part)
  })

  test('shows no terminal what commands it or turns text around, in the JSON too', () => {
    const env = { INTATTN_ADDONS: join(created().root, 'no\u202e\x1b[2J\x9b\u2028\u{e0041}where') }
    const { stdout } = project!.doctor(['doctor', '--json', ...patient], { env })
    expect(stdout).not.toMatch(/[^\P{C}\n]|[\p{Zl}\p{Zp}]/u)
    expect((JSON.parse(stdout) as DoctorReport).environment.INTATTN_ADDONS).toBe(env.INTATTN_ADDONS)
    readable(project!, { env })
  })

  test.skipIf(!existsSync('/dev/full')).each([[['doctor']], [['doctor', '--json']], [['--help']], [['--version']]])(
    'says in one line that stdout cannot be written: %j',
    (args) => {
      const project = created()
      project.platformPackage()
      const full = openSync('/dev/full', 'w')
      const answer = project.doctor(args, { streams: [full] })
      closeSync(full)
      expect(answer).toMatchObject({ status: 1, stderr: 'intattn: cannot write to stdout (ENOSPC)\n' })
    },
  )

  test.skipIf(!existsSync('/dev/full'))('tells by its exit code alone where stderr cannot be written', () => {
    const full = openSync('/dev/full', 'w')
    const { status, signal } = created().doctor(['--frobnicate'], { streams: ['pipe', full] })
    closeSync(full)
    expect({ status, signal }).toEqual({ status: 2, signal: null })
  })

  test.skipIf(process.platform === 'win32').each(['--help', '--version'])(
    '%s ends quietly when nobody reads',
    (flag) => {
      const command = '{ sleep 0.3; "$0" "$@"; echo "code $?" >&2; } | true'
      const program = join(created().package, 'dist/doctor/main.js')
      const { stderr } = spawnSync('sh', ['-c', command, process.execPath, program, flag], { encoding: 'utf8' })
      expect(stderr).toBe('code 0\n')
    },
  )

  test('looks nowhere else than where INTATTN_ADDONS says', () => {
    const project = created()
    project.platformPackage()
    const env = { INTATTN_ADDONS: join(project.root, 'nowhere') }
    const { places, environment, remedies } = examined(project, { env })
    expect(environment).toMatchObject(env)
    expect(places).toEqual([
      { place: 'INTATTN_ADDONS', path: join(env.INTATTN_ADDONS, 'addons.json'), reason: 'no such file', addons: [] },
    ])
    expect(remedies[0]).toContain('unset it')
    project.addons('here')
    expect(examined(project, { env: { INTATTN_ADDONS: 'here' } }).default.place).toBe('INTATTN_ADDONS')
  })

  test('goes on where the loader does: an addon that does not load is followed by the next', () => {
    const project = created()
    project.localBuild(manifest(), { 'intattn.node': program("throw new Error('no luck')") })
    project.platformPackage()
    const { places, default: byDefault } = examined(project)
    expect(places[0]!.addons[0]).toMatchObject({ verdict: 'refused', reason: expect.stringMatching(/\w/) })
    expect(places[1]!.addons[0]).toMatchObject({ verdict: 'works' })
    expect(byDefault).toMatchObject({ works: true, place: 'platform package' })
    expect(readable(project)).toContain('does not load: ')
  })

  test.each([
    ['another version', manifest([], { version: '99.0.0' }), 'of version 99.0.0'],
    ['another platform', manifest([], { platform: 'linux-s390x' }), 'built for linux-s390x'],
    ['another system', manifest([], { system: { name: 'glibc', version: '2.99' } }), 'built for glibc 2.99'],
    ['a damaged addons.json', '{', 'JSON'],
  ])('tells of %s', (_, content, reason) => {
    const project = created()
    project.platformPackage(content)
    const report = examined(project)
    expect(report.places[1]).toMatchObject({ reason: expect.stringContaining(reason), addons: [] })
    expect(report.default.reason).toContain(reason)
  })

  test('does not load what this CPU cannot run', () => {
    const project = created()
    project.platformPackage(
      manifest([{ ...nativeEntry, file: 'future.node', requiredFeatures: ['telepathy'] }, nativeEntry]),
    )
    project.write(`node_modules/@intattn/acl-${platform}/future.node`, program('process.exit(7)'))
    const { places, default: byDefault } = examined(project)
    expect(places[1]!.addons.map(({ verdict }) => verdict)).toEqual(['unfit', 'works'])
    expect(places[1]!.addons[0]!.reason).toBe('this CPU lacks telepathy')
    expect(byDefault.works).toBe(true)
  })

  test('asks the native engine for what the addons of engine acl need', () => {
    const target = 'linux-arm64'
    const project = created()
    const library = (cpu: string, feature: string) => ({
      ...nativeEntry,
      engine: 'acl',
      file: `${cpu}.node`,
      cpu,
      computeLibrary: '24.11',
      compiler: 'clang 19.1.7',
      requiredFeatures: [feature],
    })
    project.platformPackage(
      manifest([library('b', 'i8mm'), { ...library('a', 'asimdhp'), unlocked: true }, nativeEntry], {
        platform: target,
      }),
      {
        'intattn.node': pretended(
          "cpuFeatures: () => ['asimdhp'], instructionSets: () => [], bestInstructionSet: () => 'scalar'",
          target,
        ),
        'a.node': pretended(
          "bestInstructionSet: () => 'scalar', Attention: class { runSync() { return 'no luck' } dispose() {} }",
          target,
        ),
        'b.node': program('process.exit(7)', target),
      },
      target,
    )
    const machine = machines.platform(target)
    const { cpuFeatures, places } = examined(project, { machine })
    expect(cpuFeatures).toEqual(['asimdhp'])
    // Of the two, one is built from a source that nothing vouches for.
    expect(
      readable(project, { machine }).match(/nothing vouches for .*? `node tools\/acl\/main\.mjs lock`/g),
    ).toHaveLength(1)
    expect(places[1]!.addons).toMatchObject([
      { engine: 'native', verdict: 'works' },
      { engine: 'acl', verdict: 'unfit', reason: 'built for b, and this CPU lacks i8mm' },
      {
        engine: 'acl',
        verdict: 'wrong',
        reason: expect.stringContaining('no luck'),
        library: { cpu: 'a', unlocked: true },
      },
    ])
  })

  test('finds a damaged addon, and does not load it', () => {
    const project = created()
    const file = join(project.platformPackage(), 'intattn.node')
    const bytes = readFileSync(file)
    const reinstall = `remove ${dirname(file)} and install it again`

    // A letter of a message: all works, and only the digest tells.
    bytes.write('T', bytes.indexOf('that was not disposed'))
    writeFileSync(file, bytes)
    const altered = examined(project)
    expect(lastAddon(altered)).toMatchObject({
      verdict: 'damaged',
      reason: expect.stringMatching(/^damaged: sha256 [0-9a-f]{64}, expected [0-9a-f]{64}$/),
    })
    expect(lastAddon(altered)!.instructionSets).toBeUndefined()
    expect(altered.default).toMatchObject({ works: false, engine: 'native', reason: 'intattn.node is damaged' })
    expect(altered.remedies[0]).toBe(reinstall)
    expect(readable(project)).toContain(`of no use: ${lastAddon(altered)!.reason}`)

    truncateSync(file, 1000)
    const cut = examined(project)
    expect(lastAddon(cut)).toMatchObject({
      verdict: 'damaged',
      reason: `damaged: 1000 bytes of ${bytes.length}`,
    })
    expect(cut.default.works).toBe(false)
    expect(cut.remedies[0]).toBe(reinstall)
  })

  test('finds wrong integers', () => {
    const project = created()
    const source = `const addon = require(${JSON.stringify(builtAddon)})
       module.exports = { ...addon, Attention: class extends addon.Attention {
         runSync(...args) {
           const status = super.runSync(...args)
           args[0].intermediates.plane[17] += 1
           return status
         }
       } }`
    project.platformPackage(manifest(), { 'intattn.node': program(source) })
    const report = examined(project)
    expect(lastAddon(report)).toMatchObject({
      verdict: 'wrong',
      reason: expect.stringMatching(/^scalar: plane\[17\] is /),
    })
    expect(report.default).toMatchObject({
      works: false,
      engine: 'native',
      reason: expect.stringContaining('plane[17]'),
    })
    expect(report.remedies[0]).toContain('INTATTN_ISA=scalar')
    expect(report.remedies[1]).toMatch(/^remove .* install it again$/)
    expect(readable(project)).toContain('which does not work: plane[17] is ')
  })

  test('finds an addon that lacks half of its functions', () => {
    const project = created()
    project.platformPackage(manifest(), { 'intattn.node': pretended('') })
    expect(lastAddon(examined(project))).toMatchObject({ verdict: 'wrong', reason: expect.stringMatching(/function/) })
  })

  test.each([
    ['INTATTN_ENGINE', 'cuda'],
    ['INTATTN_ISA', 'mmx'],
    ['INTATTN_ISA', sets.includes('scalar') && process.arch === 'arm64' ? 'avx2' : 'neon-i8mm'],
  ])('tells of %s=%s', (variable, value) => {
    const project = created()
    project.platformPackage()
    const report = examined(project, { env: { [variable]: value } })
    expect(report.environment).toMatchObject({ [variable]: value })
    expect(report.default).toEqual({ works: false, reason: expect.stringContaining(`${variable}: expected`) })
    expect(report.remedies).toEqual([`correct ${variable} or unset it`])
    expect(lastAddon(report)).toMatchObject({ verdict: 'works' })
  })

  test('takes the engine and instruction set that the environment asks for', () => {
    const project = created()
    const reference = { env: { INTATTN_ENGINE: 'reference' } }
    expect(examined(project, reference).default).toEqual({ works: true, engine: 'reference' })
    project.platformPackage()
    expect(examined(project, { env: { INTATTN_ISA: 'scalar' } }).default).toMatchObject({ works: true, isa: 'scalar' })
  })

  test('names what Node.js was told to forbid', () => {
    const project = created()
    project.platformPackage()
    const remedy = (...flags: string[]) => {
      const env = { NODE_NO_WARNINGS: '1', NODE_OPTIONS: flags.join(' ') }
      return examined(project, { env }).remedies[0]
    }
    expect(remedy('--no-addons')).toMatch(/^start Node\.js without --no-addons/)
    const restricted = [permissionFlag, '--allow-fs-read=*']
    expect(remedy(...restricted)).toMatch(/--allow-child-process beside --permission$/)
    expect(remedy(...restricted, '--allow-child-process')).toMatch(/--allow-addons beside --permission$/)
    expect(remedy(...restricted, '--allow-child-process', '--allow-addons')).toBeUndefined()
  })

  test.each(['linux-riscv64', 'win32-x64'])('on %s', (name) => {
    const { places, remedies } = examined(created(), { machine: machines.platform(name) })
    expect(places[1]).toMatchObject({ path: `@intattn/acl-${name}`, reason: 'not published' })
    expect(remedies.join()).toContain('darwin-arm64, linux-arm64, linux-x64')
  })

  test('on a system without glibc', () => {
    const project = created()
    const machine = machines.platform('linux-x64') + machines.musl
    project.platformPackage(
      manifest([], { platform: 'linux-x64', system: { name: 'glibc', version: '2.28' } }),
      {},
      'linux-x64',
    )
    const { system, places } = examined(project, { machine })
    expect(system).toBeNull()
    expect(places[1]!.reason).toBe("built for glibc 2.28, and this system's C library is musl or unknown")
    expect(readable(project, { machine })).toContain('musl or unknown')
  })
})

describeUnlessEmulated(`an addon that ends the process${noCompiler}`, () => {
  /** A project whose platform package does this when it is loaded. */
  function ending(onLoad: string): Project {
    const project = created()
    project.platformPackage(manifest(), {})
    const folder = `node_modules/@intattn/acl-${platform}`
    compileLibrary(project, `${folder}/intattn.node`, onLoad)
    project.record(folder)
    return project
  }

  test.skipIf(noCompiler).each([
    ['SIGILL', 'raise(SIGILL);', /^ended by SIGILL while loading: this CPU lacks an instruction it uses$/],
    ['SIGKILL', 'raise(SIGKILL);', /^ended by SIGKILL while loading: (memory|macOS)/],
    ['SIGSEGV', 'raise(SIGSEGV);', /^ended by SIGSEGV while loading: /],
    ['an exit code', '_exit(3);', /^ended by exit code 3 while loading$/],
    ['last words', 'write(2, "out of luck\\n", 12); _exit(3);', /^ended by exit code 3 while loading: out of luck$/],
    ['exit code 0', '_exit(0);', /^ended by exit code 0 while loading$/],
  ])('by %s', (_, onLoad, reason) => {
    const project = ending(onLoad)
    const report = examined(project)
    expect(lastAddon(report)).toMatchObject({ verdict: 'crashed', reason: expect.stringMatching(reason) })
    expect(report.default).toEqual({ works: false, reason: expect.stringMatching(reason) })
    expect(report.remedies.join('\n')).toMatch(/remove .* and install it again/)
    expect(report.remedies.at(-1)).toContain("engine 'reference'")
  })

  test.skipIf(noCompiler)('or never comes back, is given up after the time limit', () => {
    const report = examined(ending('for (;;) pause();'), {}, '--timeout', '3.5')
    expect(lastAddon(report)).toMatchObject({ verdict: 'hung', reason: 'was still loading after 3.5 s' })
    expect(report.default).toMatchObject({ works: false, reason: 'was still loading after 3.5 s' })
    expect(report.remedies[0]).toContain('--timeout')
  })

  test.skipIf(noCompiler)('or leaves a process behind that holds on to its streams, is not waited for', () => {
    const project = ending(`
      mkdir("begun", 0700);
      if (fork() == 0) { sleep(60); mkdir("ended", 0700); }
      else for (;;) pause();`)
    expect(lastAddon(examined(project, {}, '--timeout', '3.5'))).toMatchObject({ verdict: 'hung' })
    const made = ['begun', 'ended'].map((name) => existsSync(join(project.root, name)))
    expect(made).toEqual([true, false])
  })

  test.skipIf(noCompiler)('while a later place would work: the loader never gets there', () => {
    const project = ending('raise(SIGILL);')
    const folder = 'node_modules/@intattn/acl/build/Release'
    project.localBuild(manifest(), {})
    compileLibrary(project, `${folder}/intattn.node`, 'raise(SIGILL);')
    project.record(folder)
    project.platformPackage()
    const report = examined(project)
    expect(report.places.map(({ addons }) => addons[0]!.verdict)).toEqual(['crashed', 'works'])
    expect(report.default.works).toBe(false)
    expect(report.remedies.join()).toContain('rebuild it')
  })
})

describeUnlessEmulated('the command line', () => {
  test('helps', () => {
    const project = created()
    for (const args of [['--help'], ['-h'], ['doctor', '--help']]) {
      const { status, stdout, stderr } = project.doctor(args)
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      for (const word of ['doctor', '--json', '--timeout']) expect(stdout).toContain(word)
    }
    expect(project.doctor(['--version'])).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' })
  })

  test.each([
    [[], "received ''"],
    [['doktor'], "received 'doktor'"],
    [['doctor', 'again'], "received 'doctor again'"],
    [['doctor', '--jsno'], '--jsno'],
    [['doctor', '--timeout', 'soon'], "received 'soon'"],
    [['doctor', '--timeout', ''], "received ''"],
    [['doctor', '--timeout=-1'], "received '-1'"],
    [['doctor', '--timeout=Infinity'], "received 'Infinity'"],
    [['doctor', '--timeout'], '--timeout'],
    [['doctor', '--json=yes'], '--json'],
  ])('%j is wrong', (args, message) => {
    const { status, stdout, stderr } = created().doctor(args)
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr.split('\n')[0]).toMatch(/^intattn: /)
    expect(stderr.split('\n')[0]).toContain(message)
    expect(stderr).toContain('Usage: intattn doctor')
  })

  test('is the only program of the package, so that npx finds it', () => {
    const project = created()
    const { stdout } = project.run(`import { createRequire } from 'node:module'
      console.log(JSON.stringify(createRequire(import.meta.url)('@intattn/acl/package.json').bin))`)
    const programs: Record<string, string> = JSON.parse(stdout)
    expect(Object.keys(programs)).toEqual(['intattn'])
    expect(existsSync(join(project.package, programs.intattn!))).toBe(true)
  })
})
