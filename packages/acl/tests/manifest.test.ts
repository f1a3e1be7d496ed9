import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { manifest, nativeEntry, Project, platform, version } from './support/project.js'
import { Random, seedOf, shareOf } from './support/random.js'

interface Refusal {
  name: string
  message: string
  tried: { path: string; reason: string }[]
  remedies: string[]
}

/** What a process says that reads these as `addons.json` of the platform package, one after the other; no addon there loads. */
function refusals(project: Project, contents: readonly string[]): Refusal[] {
  const folder = project.platformPackage('', { 'intattn.node': 'not a shared library' })
  const list = project.write('contents.json', contents)
  const { status, signal, stdout, stderr } = project.run(`import { readFileSync, writeFileSync } from 'node:fs'
    import { Attention, engines } from '@intattn/acl'
    const said = JSON.parse(readFileSync(${JSON.stringify(list)})).map((content) => {
      writeFileSync(${JSON.stringify(join(folder, 'addons.json'))}, content)
      try {
        new Attention({ heads: 1, headDim: 8 })
      } catch ({ name, message, tried, remedies }) {
        if (engines().some(({ name, available }) => available && name !== 'reference')) return { name: 'listed as available' }
        return { name, message, tried, remedies }
      }
      return { name: 'loaded' }
    })
    console.log(JSON.stringify(said))`)
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
  return JSON.parse(stdout)
}

describe('an addons.json', () => {
  const entry = { ...nativeEntry, cpu: 'armv8.2-a', computeLibrary: '24.11', compiler: 'clang 19.1.7' }
  const cases: readonly (readonly [what: string, content: string | object, reason: RegExp])[] = [
    ['nothing', '', /JSON/],
    ['half of it', '{"version":', /JSON/],
    ['no object', 'null', /^content: expected an object/],
    ['a list', '[]', /^content: expected an object/],
    ['no version', { addons: [] }, /^version: expected a string.* received nothing$/],
    ['a version that is no string', { version: 1 }, /^version: /],
    ['no platform', { version, addons: [] }, /^platform: /],
    ['a platform with line breaks', manifest([], { platform: 'linux-x64\n' }), /^platform: /],
    ['no addons', { version, platform }, /^addons: expected a list, received nothing$/],
    ['addons that are no list', manifest({}), /^addons: expected a list/],
    ['an addon that is no object', manifest(['intattn.node']), /^addons\[0\]: expected an object/],
    ['another engine', manifest([nativeEntry, { ...entry, engine: 'reference' }]), /^addons\[1\]\.engine: /],
    ['no features', manifest([{ ...entry, requiredFeatures: undefined }]), /^addons\[0\]\.requiredFeatures: /],
    ['features in a string', manifest([{ ...entry, requiredFeatures: 'i8mm' }]), /^addons\[0\]\.requiredFeatures: /],
    ['features that are no names', manifest([{ ...entry, requiredFeatures: ['i8mm', 1] }]), /requiredFeatures\[1\]: /],
    ['no file', manifest([{ ...entry, file: undefined }]), /^addons\[0\]\.file: /],
    ['a file elsewhere', manifest([{ ...entry, file: '../acl/build/Release/intattn.node' }]), /^addons\[0\]\.file: /],
    ['an absolute file', manifest([{ ...entry, file: '/intattn.node' }]), /^addons\[0\]\.file: /],
    ['the folder for a file', manifest([{ ...entry, file: '..' }]), /^addons\[0\]\.file: /],
    ['a file on a drive', manifest([{ ...entry, file: 'C:intattn.node' }]), /^addons\[0\]\.file: /],
    ['a program for a file', manifest([{ ...entry, file: 'intattn.js' }]), /^addons\[0\]\.file: /],
    ['data for a file', manifest([{ ...entry, file: 'addons.json' }]), /^addons\[0\]\.file: /],
    ['no size', manifest([{ ...entry, size: undefined }]), /^addons\[0\]\.size: expected an integer/],
    ['a size of nothing', manifest([{ ...entry, size: 0 }]), /^addons\[0\]\.size: /],
    ['no digest', manifest([{ ...entry, sha256: undefined }]), /^addons\[0\]\.sha256: /],
    ['another digest', manifest([{ ...entry, sha256: 'd41d8cd98f00b204e9800998ecf8427e' }]), /\.sha256: /],
    ['no cpu', manifest([{ ...entry, engine: 'acl', cpu: undefined }]), /^addons\[0\]\.cpu: /],
    ['no ComputeLibrary', manifest([{ ...entry, engine: 'acl', computeLibrary: '' }]), /\.computeLibrary: /],
    ['no compiler', manifest([{ ...entry, engine: 'acl', compiler: undefined }]), /\.compiler: expected a string/],
    ['a compiler in two lines', manifest([{ ...entry, engine: 'acl', compiler: 'clang\n19' }]), /\.compiler: /],
    ['another system', manifest([], { system: { name: 'musl', version: '1.2' } }), /^system\.name: /],
    ['a system without version', manifest([], { system: { name: 'glibc' } }), /^system\.version: /],
    ['a system that is a name', manifest([], { system: 'glibc' }), /^system: /],
  ]
  let project: Project
  let answers: Refusal[]
  beforeAll(() => {
    project = new Project()
    answers = refusals(
      project,
      cases.map(([, content]) => (typeof content === 'string' ? content : JSON.stringify(content))),
    )
  }, 120_000)
  afterAll(() => project.remove())

  test.each(cases.map(([what, , reason], i) => [what, reason, i] as const))('with %s', (_, reason, i) => {
    const { name, tried, remedies } = answers[i]!
    expect(name).toBe('LoaderError')
    expect(tried[1]!.path).toMatch(/acl-\w+-\w+.addons\.json$/)
    expect(tried[1]!.reason).toMatch(reason)
    expect(remedies[0]).toMatch(/^remove .* and install it again$/)
  })

  test('that was damaged at random is refused, and nothing worse', () => {
    const seed = seedOf(4000)
    const random = new Random(seed)
    const damaged = Array.from({ length: shareOf(600) }, () => damage(random))
    const said = refusals(project, damaged)
    const kinds = new Set<boolean>()
    for (const [i, { name, message, tried }] of said.entries()) {
      const about = `seed ${seed}, case ${i}: ${damaged[i]}`
      expect(name, about).toBe('LoaderError')
      expect(message, about).not.toMatch(/\p{C}/u)
      expect(tried[1]!.reason, about).toMatch(/\S/)
      kinds.add(tried[1]!.path.endsWith('addons.json'))
    }
    // Some were damaged beyond use, others led to the addon.
    expect(kinds.size).toBe(2)
  })
})

const whole = manifest(
  [
    nativeEntry,
    {
      ...nativeEntry,
      engine: 'acl',
      file: 'a.node',
      cpu: 'armv8.6-a',
      computeLibrary: '24.11',
      compiler: 'zig 0.17.1',
      requiredFeatures: ['i8mm', 'bf16'],
    },
  ],
  { system: { name: 'glibc', version: '2.28' } },
)

/** A manifest with a few bytes changed, or with a few values exchanged. */
function damage(random: Random): string {
  if (random.chance(0.5)) return JSON.stringify(exchanged(whole, random))
  const bytes = [...Buffer.from(JSON.stringify(whole))]
  for (let left = random.integer(1, 3); left > 0; left--) {
    const at = random.integer(0, bytes.length - 1)
    const added = Array.from({ length: random.integer(0, 2) }, () => random.integer(0, 255))
    bytes.splice(at, random.integer(0, 2), ...added)
  }
  return Buffer.from(bytes).toString('latin1')
}

const oddities: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  '',
  '..',
  '\0',
  'i8mm\n',
  [],
  {},
  [[]],
  [null],
  'x'.repeat(5000),
]

function exchanged(value: unknown, random: Random): unknown {
  if (random.chance(0.1)) return random.pick(oddities)
  if (Array.isArray(value)) return value.map((item) => exchanged(item, random))
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).filter(() => !random.chance(0.03))
  return Object.fromEntries(fields.map(([name, field]) => [name, exchanged(field, random)]))
}
