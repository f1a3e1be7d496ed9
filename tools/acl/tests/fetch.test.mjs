import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { checkout, git, tag, tarball, temporary, upstream, write } from './support/checkout.mjs'

const urlOf = (directory) => `file://${directory}`

test('fetch clones the tag, records its commit, and verifies both ever after', async () => {
  const source = upstream()
  const commit = tag(source)
  const repository = checkout({ git: urlOf(source) })
  const first = await repository.run(['fetch'])
  expect(first.stderr).toContain(`recorded commit ${commit} of v52.5.0 in third_party/upstream.lock.json`)
  expect(first.code).toBe(0)
  expect(repository.lock().commit).toBe(commit)
  expect(repository.has('third_party/ComputeLibrary/SConstruct')).toBe(true)
  const second = await repository.run(['fetch'])
  expect(second).toMatchObject({ code: 0, stderr: expect.not.stringContaining('fetching') })
})

test('a tag that moved is refused: expected and received commit, nothing left', async () => {
  const source = upstream()
  const commit = tag(source)
  const expected = '0123456789abcdef0123456789abcdef01234567'
  const repository = checkout({ git: urlOf(source), commit: expected })
  const { code, stderr } = await repository.run(['fetch'])
  expect(code).toBe(1)
  expect(stderr).toContain(`expected ${expected}, received ${commit}`)
  expect(readdirSync(repository.path('third_party'))).toEqual(['upstream.lock.json'])
})

test('a tag whose tree says another version is refused', async () => {
  const source = upstream({ version: '52.6.0' })
  tag(source)
  const repository = checkout({ git: urlOf(source) })
  const { code, stderr } = await repository.run(['fetch'])
  expect(code).toBe(1)
  expect(stderr).toContain('version: expected 52.5.0, received 52.6.0')
  expect(repository.lock().commit).toBe(null)
})

test('a repository that cannot be reached: what git says, and what to do without network', async () => {
  const repository = checkout({ git: urlOf('/nowhere/at/all') })
  const { code, stderr } = await repository.run(['fetch'])
  expect(code).toBe(3)
  expect(stderr).toContain('git clone of v52.5.0 failed')
  expect(stderr).toContain('ACL_SOURCE=debian')
})

test.each([
  ['a changed file', 'src/softmax.cpp'],
  ['a new file', 'src/new.cpp'],
])('a fetched tree that was edited (%s) is refused and the file named', async (_, name) => {
  const source = upstream()
  tag(source)
  const repository = checkout({ git: urlOf(source) })
  await repository.run(['fetch'])
  repository.write(`third_party/ComputeLibrary/${name}`, 'edited\n')
  for (const command of ['fetch', 'patch', 'verify']) {
    const { code, stderr } = await repository.run([command])
    expect(code).toBe(1)
    expect(stderr).toContain(`third_party/ComputeLibrary was edited: ${name}`)
  }
})

test('a tree in third_party without a record is taken only when it is the clean checkout', async () => {
  const source = upstream()
  const commit = tag(source)
  const repository = checkout({ git: urlOf(source), commit })
  git(repository.path('third_party'), 'clone', '--quiet', source, 'ComputeLibrary')
  repository.write('third_party/ComputeLibrary/src/softmax.cpp', 'edited\n')
  expect((await repository.run(['fetch'])).stderr).toContain('was edited: src/softmax.cpp')
  git(repository.path('third_party/ComputeLibrary'), 'checkout', '--', '.')
  expect(await repository.run(['fetch'])).toMatchObject({ code: 0 })
})

const slowGit = `#!/bin/sh
for place; do :; done
mkdir "$place"; echo half >"$place/SConstruct"; echo there >"$STARTED"
exec sleep 20
`

test.each(['SIGTERM', 'SIGKILL'])(
  'a fetch interrupted by %s leaves nothing that the next one trusts',
  async (signal) => {
    const source = upstream()
    tag(source)
    const repository = checkout({ git: urlOf(source) })
    const directory = temporary()
    write(path.join(directory, 'git'), slowGit, 0o755)
    const started = path.join(directory, 'started')
    const { child, ended } = repository.start(['fetch'], {
      PATH: `${directory}:${process.env.PATH}`,
      STARTED: started,
    })
    for (let i = 0; i < 100 && !readdirSync(directory).includes('started'); i += 1) await sleep(50)
    const closed = once(child, 'exit')
    child.kill(signal)
    await closed
    expect(repository.has('third_party/ComputeLibrary')).toBe(false)
    if (signal === 'SIGTERM') {
      const { code, stderr } = await ended
      expect(code).toBe(143)
      expect(stderr).toContain('interrupted by SIGTERM')
      expect(readdirSync(repository.path('third_party'))).toEqual(['upstream.lock.json'])
    }
    expect(await repository.run(['fetch'])).toMatchObject({ code: 0 })
    expect(readdirSync(repository.path('third_party')).sort()).toEqual([
      'ComputeLibrary',
      'ComputeLibrary.json',
      'upstream.lock.json',
    ])
  },
)

test('a tarball is known by its digest', async () => {
  const { file, sha256, tree } = await tarball(upstream({ version: '24.11' }))
  const known = { name: 'debian', version: '24.11', suite: 's', package: 'p', file: 'source.tar.gz', sha256, tree }
  const repository = checkout({ alternates: [known] })
  const { code, stderr } = await repository.run(['fetch'], { ACL_SOURCE: file })
  expect(stderr).toContain(`ComputeLibrary 24.11 (debian, digest ${sha256})`)
  expect(code).toBe(0)
})

test('an unknown tarball is refused, or used and said so with --allow-unlocked', async () => {
  const { file, sha256 } = await tarball(upstream({ version: '24.11' }))
  const other = { name: 'debian', version: '24.11', suite: 's', package: 'p', file: 'x.tar.gz', sha256: 'a'.repeat(64) }
  const repository = checkout({ alternates: [{ ...other, tree: null }] })
  const { code, stderr } = await repository.run(['fetch'], { ACL_SOURCE: file })
  expect(code).toBe(1)
  expect(stderr).toContain(`expected one of x.tar.gz (sha256 ${'a'.repeat(64)})`)
  expect(stderr).toContain(`received sha256 ${sha256}`)
  expect(repository.has('build/compute-library/sources/tree')).toBe(false)
  const allowed = await repository.run(['fetch', '--allow-unlocked'], { ACL_SOURCE: file })
  expect(allowed.code).toBe(0)
  expect(allowed.stderr).toContain('NOT LOCKED')
})

test('a tarball of another version than the lock says, or without a source tree, is refused', async () => {
  const { file, sha256 } = await tarball(upstream({ version: '24.12' }))
  const known = { name: 'debian', version: '24.11', suite: 's', package: 'p', file: 'x', sha256, tree: null }
  const repository = checkout({ alternates: [known] })
  const { stderr } = await repository.run(['fetch'], { ACL_SOURCE: file })
  expect(stderr).toContain('version: expected 24.11, received 24.12')
  const empty = path.join(temporary(), 'empty')
  write(path.join(empty, 'README'), 'nothing\n')
  const none = await tarball(empty)
  const refused = await repository.run(['fetch', '--allow-unlocked'], { ACL_SOURCE: none.file })
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain('found no SConstruct')
})

test('a directory is known by its commit or by its files', async () => {
  const source = upstream()
  const commit = tag(source)
  const repository = checkout({ commit })
  expect(await repository.run(['fetch'], { ACL_SOURCE: source })).toMatchObject({
    code: 0,
    stderr: expect.stringContaining(`ComputeLibrary 52.5.0 (directory, commit ${commit})`),
  })
  write(path.join(source, 'src/softmax.cpp'), 'edited\n')
  expect((await repository.run(['fetch'], { ACL_SOURCE: source })).stderr).toContain('was edited: src/softmax.cpp')

  const plain = upstream({ version: '24.11' })
  const { tree, sha256 } = await tarball(plain)
  const known = { name: 'debian', version: '24.11', suite: 's', package: 'p', file: 'x.tar.gz', sha256, tree }
  const other = checkout({ alternates: [known] })
  expect((await other.run(['fetch'], { ACL_SOURCE: plain })).code).toBe(0)
  write(path.join(plain, 'src/softmax.cpp'), 'edited\n')
  const refused = await other.run(['fetch'], { ACL_SOURCE: plain })
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain('or the files of x.tar.gz')
})

test('ACL_SOURCE that is not there is refused', async () => {
  const { code, stderr } = await checkout().run(['fetch'], { ACL_SOURCE: '/not/here' })
  expect(code).toBe(1)
  expect(stderr).toContain('expected a directory, a tarball or "debian", received /not/here')
})

/** An apt whose archive has one tarball and lacks the other files of the package. */
function apt(file) {
  const directory = temporary()
  const script = `#!/bin/sh
case "$*" in
*indextargets*)
  echo "http://archive.invalid/security/ Debian main Packages"
  echo "http://archive.invalid/debian/ Debian main Packages" ;;
*update*)
  for argument; do case $argument in Dir::Etc::sourceparts=*) cat "\${argument#*=}"/* >"$SEEN" ;; esac; done ;;
*source*)
  [ -n "${file}" ] && cp "${file}" package_24.11+dfsg.orig.tar.gz
  echo 'E: 404 Not Found' >&2
  exit 100 ;;
esac
`
  write(path.join(directory, 'apt-get'), script, 0o755)
  return { PATH: `${directory}:${process.env.PATH}`, SEEN: path.join(directory, 'seen'), ACL_SOURCE: 'debian' }
}

test("Debian's tarball comes through apt's own archive, though apt fails on the rest of the package", async () => {
  const { file, sha256, tree } = await tarball(upstream({ version: '24.11' }))
  const known = { name: 'debian', version: '24.11', suite: 'trixie', package: 'package', sha256, tree }
  const repository = checkout({ alternates: [{ ...known, file: 'package_24.11+dfsg.orig.tar.gz' }] })
  const env = apt(file)
  const { code, stderr } = await repository.run(['fetch'], env)
  expect(stderr).toContain(`ComputeLibrary 24.11 (debian, digest ${sha256})`)
  expect(code).toBe(0)
  expect(readFileSync(env.SEEN, 'utf8')).toMatch(
    /^Types: deb-src\nURIs: http:\/\/archive\.invalid\/debian\/\nSuites: trixie\nComponents: main\n/,
  )
})

test('Debian: a tarball with another digest, and none at all, are refused', async () => {
  const { file, sha256 } = await tarball(upstream({ version: '24.11' }))
  const known = { name: 'debian', version: '24.11', suite: 'trixie', package: 'package', sha256: 'b'.repeat(64) }
  const lock = { alternates: [{ ...known, tree: null, file: 'package_24.11+dfsg.orig.tar.gz' }] }
  const repository = checkout(lock)
  const wrong = await repository.run(['fetch'], apt(file))
  expect(wrong.code).toBe(1)
  expect(wrong.stderr).toContain(`sha256: expected ${'b'.repeat(64)}, received ${sha256}`)
  expect(readdirSync(repository.path('build/compute-library/sources'))).toEqual([])
  const none = await repository.run(['fetch'], apt(''))
  expect(none.code).toBe(3)
  expect(none.stderr).toContain('apt did not deliver package_24.11+dfsg.orig.tar.gz')
  expect(none.stderr).toContain('404 Not Found')
})

test('a lock that is damaged is refused', async () => {
  const repository = checkout({ commit: 'main' })
  expect((await repository.run(['fetch'])).stderr).toContain('expected null or 40 hex digits, received main')
  repository.write('third_party/upstream.lock.json', '{')
  expect(await repository.run(['fetch'])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^third_party\/upstream\.lock\.json: .*JSON/),
  })
})
