import { execFileSync } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fs } from 'zx'
import { digestOfFile } from '../../acl/digest.mjs'
import { dropCopies } from '../pack/addons.mjs'
import { createArchive, readEntry } from '../pack/archive.mjs'
import { collect } from '../pack/collect.mjs'
import { requireLock, requireLocked } from '../pack/locked.mjs'
import { libraryCpus, platformPackage, platforms } from '../platforms.mjs'

/** @type {string} */
let place
/** @type {string[]} */
let said
const say = (text) => said.push(text)
beforeEach(async () => {
  said = []
  place = await fs.mkdtemp(path.join(os.tmpdir(), 'intattn-pack-test-'))
})
afterEach(() => fs.remove(place))

/** @param {string} folder @param {Record<string, string>} files */
async function write(folder, files) {
  for (const [name, text] of Object.entries(files)) await fs.outputFile(path.join(folder, name), text)
}

test('an archive depends on names and contents alone', async () => {
  const files = { 'b/two.h': 'two', 'a.node': 'one', 'z.txt': 'three' }
  const [first, second] = [path.join(place, 'x/it'), path.join(place, 'another place/it')]
  await write(first, files)
  await write(second, Object.fromEntries(Object.entries(files).reverse()))
  await fs.chmod(path.join(second, 'z.txt'), 0o600)
  await fs.chmod(path.join(second, 'b'), 0o700)
  await fs.utimes(path.join(second, 'a.node'), 1, 1)
  await createArchive(path.join(place, '1.tar.gz'), first)
  await createArchive(path.join(place, '2.tar.gz'), second)
  expect(await digestOfFile(path.join(place, '2.tar.gz'))).toBe(await digestOfFile(path.join(place, '1.tar.gz')))
  await write(second, { 'z.txt': 'four' })
  await createArchive(path.join(place, '2.tar.gz'), second)
  expect(await digestOfFile(path.join(place, '2.tar.gz'))).not.toBe(await digestOfFile(path.join(place, '1.tar.gz')))
})

test("the system's tar reads an archive; nobody owns its files", async () => {
  await write(path.join(place, 'it'), { 'a.node': 'one', 'b/two.h': 'two' })
  await createArchive(path.join(place, 'it.tar.gz'), path.join(place, 'it'))
  const listed = execFileSync('tar', ['tvzf', path.join(place, 'it.tar.gz'), '--numeric-owner'], { encoding: 'utf8' })
  const lines = listed.trim().split('\n')
  expect(lines[0]).toMatch(/^-rwxr-xr-x +\S*0[/ ]+0 .*it\/a\.node$/)
  expect(lines[1]).toMatch(/^-rw-r--r-- .*it\/b\/two\.h$/)
  expect(lines).toHaveLength(2)
})

test('of addons that came out identical the one stays that asks least of the CPU', async () => {
  const acl = (cpu, requiredFeatures) => ({ engine: 'acl', file: `intattn_acl-${cpu}.node`, cpu, requiredFeatures })
  const native = { engine: 'native', file: 'intattn.node', requiredFeatures: [] }
  const addons = [native, acl('m4', ['i8mm', 'sme']), acl('m3', ['i8mm']), acl('m2', ['i8mm']), acl('m1', [])]
  await write(place, {
    'intattn.node': 'native',
    'intattn_acl-m4.node': 'for m4',
    'intattn_acl-m3.node': 'for m3',
    'intattn_acl-m2.node': 'for m2',
    'intattn_acl-m1.node': 'for m1',
    'addons.json': JSON.stringify({ version: '1.0.0', platform: 'darwin-arm64', addons }),
  })
  await dropCopies(place, say, async (cpu) => (cpu === 'm1' ? 'baseline' : 'newer'))
  const kept = (await fs.readJson(path.join(place, 'addons.json'))).addons.map(({ file }) => file)
  expect(kept).toEqual(['intattn.node', 'intattn_acl-m2.node', 'intattn_acl-m1.node'])
  expect((await fs.readdir(place)).sort()).toEqual(['addons.json', ...kept].sort())
  expect(said.join()).toContain('intattn_acl-m4.node is left out: the same code as intattn_acl-m2.node')
})

test('of addons between which CPU features do not decide, the one for the older CPU stays', async () => {
  const acl = (cpu) => ({ engine: 'acl', file: `intattn_acl-${cpu}.node`, cpu, requiredFeatures: ['i8mm'] })
  await write(place, {
    'intattn_acl-m3.node': 'three',
    'intattn_acl-m2.node': 'two',
    'addons.json': JSON.stringify({ version: '1.0.0', platform: 'darwin-arm64', addons: [acl('m3'), acl('m2')] }),
  })
  await dropCopies(place, say, async (cpu) => cpu)
  expect(await fs.readdir(place)).toEqual(['addons.json', 'intattn_acl-m2.node'])
  expect(said).toEqual(['intattn_acl-m3.node is left out: intattn_acl-m2.node asks for the same CPU features'])
})

/**
 * Everything that a release has, small.
 * @param {{ alsoFor?: Record<string, string[]>, without?: string[], unlocked?: string[] }} [options]
 */
async function packed({ alsoFor = {}, without = [], unlocked = [] } = {}) {
  for (const name of ['acl', 'bench', ...Object.keys(platforms).map((platform) => `acl-${platform}`)])
    await write(place, { [`npm/intattn-${name}-1.2.3.tgz`]: name })
  for (const platform of Object.keys(platforms))
    for (const cpu of libraryCpus(platform)) {
      if (without.includes(cpu)) continue
      const name = `intattn-acl-v1.2.3-${platform}-${cpu}`
      const computeLibrary = { source: { locked: !unlocked.includes(cpu) } }
      const manifest = {
        platform,
        cpu,
        alsoFor: alsoFor[cpu] ?? [],
        ...(platform !== 'linux-x64' && { computeLibrary }),
      }
      await write(path.join(place, 'stage', name), { 'manifest.json': JSON.stringify(manifest) })
      await createArchive(path.join(place, 'assets', `${name}.tar.gz`), path.join(place, 'stage', name))
    }
}
const index = () => fs.readJson(path.join(place, 'release.json'))

test('collect lists everything with sizes and digests, what others depend on first', async () => {
  await packed()
  await collect({ directory: place, version: '1.2.3', say })
  const { version, tag, npm, assets } = await index()
  expect([version, tag]).toEqual(['1.2.3', 'v1.2.3'])
  const common = ['@intattn/acl', '@intattn/bench']
  expect(npm.map(({ name }) => name)).toEqual([...Object.keys(platforms).map(platformPackage), ...common])
  expect(assets).toHaveLength(Object.keys(platforms).flatMap(libraryCpus).length)
  for (const { file, size, sha256 } of [...npm, ...assets]) {
    expect((await fs.stat(path.join(place, file))).size).toBe(size)
    expect(await digestOfFile(path.join(place, file))).toBe(sha256)
  }
})

test('what is missing is named, and an older release.json does not stay', async () => {
  await packed({ without: ['apple-m3', 'armv8.2-a'] })
  await fs.remove(path.join(place, 'npm/intattn-acl-linux-x64-1.2.3.tgz'))
  await write(place, { 'release.json': '{}' })
  expect((await collect({ directory: place, version: '1.2.3', say })).sort()).toEqual([
    'assets/intattn-acl-v1.2.3-darwin-arm64-apple-m3.tar.gz',
    'assets/intattn-acl-v1.2.3-linux-arm64-armv8.2-a.tar.gz',
    'npm/intattn-acl-linux-x64-1.2.3.tgz',
  ])
  expect(await fs.pathExists(path.join(place, 'release.json'))).toBe(false)
})

test('one tarball stands for the CPUs whose libraries came out identical', async () => {
  await packed({ without: ['apple-m3'], alsoFor: { 'apple-m2': ['apple-m3'] } })
  expect(await collect({ directory: place, version: '1.2.3', say })).toEqual([])
  const assets = new Map((await index()).assets.map(({ file, alsoFor }) => [file, alsoFor]))
  const archive = (cpu) => `assets/intattn-acl-v1.2.3-darwin-arm64-${cpu}.tar.gz`
  expect([assets.get(archive('apple-m2')), assets.get(archive('apple-m4'))]).toEqual([['apple-m3'], []])
  expect(assets.has(archive('apple-m3'))).toBe(false)
})

test('release.json says what is built from a ComputeLibrary that is not locked', async () => {
  await packed({ unlocked: ['armv8.2-a'] })
  await collect({ directory: place, version: '1.2.3', say })
  const { assets } = await index()
  expect(assets.filter((asset) => asset.locked === false).map(({ file }) => file)).toEqual([
    'assets/intattn-acl-v1.2.3-linux-arm64-armv8.2-a.tar.gz',
  ])
})

test('what is not locked is not packed, before and after it was built, but for a trial', async () => {
  const lock = (commit, tree) => {
    const ComputeLibrary = { version: '52.5.0', tag: 'v52.5.0', git: 'nowhere', commit, tree }
    return write(place, { 'third_party/upstream.lock.json': JSON.stringify({ ComputeLibrary }) })
  }
  const command = 'node tools/acl/main.mjs lock'
  await lock(null, null)
  await expect(requireLock({ root: place, named: '' })).rejects.toThrow(command)
  await requireLock({ root: place, named: 'debian' })
  await lock('a'.repeat(40), 'b'.repeat(64))
  await requireLock({ root: place, named: '' })

  const [yes, no] = ['yes', 'no'].map((name) => path.join(place, name))
  for (const prefix of [yes, no])
    await write(prefix, { 'build.json': JSON.stringify({ version: '52.5.0', source: { locked: prefix === yes } }) })
  await requireLocked([yes], { say })
  await expect(requireLocked([yes, no], { say })).rejects.toThrow(command)
  expect(said).toEqual([])
  await requireLocked([yes, no], { allowUnlocked: true, say })
  expect(said).toEqual([expect.stringMatching(/^warning: .*no: built from .* that is not locked.*main\.mjs lock/)])
})

test('packages of another version do not count', async () => {
  await packed()
  expect(await collect({ directory: place, version: '1.2.4', say })).toContain('npm/intattn-acl-darwin-arm64-1.2.4.tgz')
})

test('a file larger than planned is refused by name', async () => {
  await packed()
  await fs.writeFile(path.join(place, 'npm/intattn-acl-1.2.3.tgz'), Buffer.alloc(2_000_000))
  await expect(collect({ directory: place, version: '1.2.3', say })).rejects.toThrow(
    /npm\/intattn-acl-1\.2\.3\.tgz: expected at most \d+ bytes, received 2000000/,
  )
})

test('the loader looks for the packages that are packed', async () => {
  const { publishedPlatforms } = await import('../../../packages/acl/src/addons/places.ts')
  expect([...publishedPlatforms].sort()).toEqual(Object.keys(platforms).sort())
})

test('an archive without the entry, or one that is no archive, is refused', async () => {
  await write(path.join(place, 'it'), { a: 'a' })
  const archive = path.join(place, 'it.tar.gz')
  await createArchive(archive, path.join(place, 'it'))
  expect(await readEntry(archive, 'it/a')).toBe('a')
  await expect(readEntry(archive, 'it/b')).rejects.toThrow('no it/b')
  await fs.writeFile(archive, 'not an archive')
  await expect(readEntry(archive, 'it/a')).rejects.toThrow()
})
