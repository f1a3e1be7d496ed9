import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { checkout, git, locked, tag, tarball, temporary, upstream, write } from './support/checkout.mjs'

const urlOf = (directory) => `file://${directory}`

test('fetch clones the tag of the lock, and verifies it ever after', async () => {
  const source = upstream()
  const repository = checkout({ git: urlOf(source), ...(await locked(source)) })
  const first = await repository.run(['fetch'])
  expect(first).toMatchObject({ code: 0, stderr: expect.not.stringContaining('NOT LOCKED') })
  expect(first.stdout).toBe(`${repository.lock().tree}\n`)
  expect(repository.has('third_party/ComputeLibrary/SConstruct')).toBe(true)
  const second = await repository.run(['fetch'])
  expect(second).toMatchObject({ code: 0, stdout: first.stdout, stderr: expect.not.stringContaining('fetching') })
})

test.each(['null', `"${'a'.repeat(40)}"`])(
  'after a new version in the lock, with commit %s, the source of the old one is refused',
  async (commit) => {
    const source = upstream()
    const repository = checkout({ git: urlOf(source), ...(await locked(source)) })
    await repository.run(['fetch'])
    repository.edit('third_party/upstream.lock.json', (text) =>
      text
        .replaceAll('52.5.0', '52.6.0')
        .replace(/"commit":"\w*"/, `"commit":${commit}`)
        .replace(/"tree":"\w*"/, commit === 'null' ? '"tree":null' : '$&'),
    )
    const { code, stderr } = await repository.run(['fetch'])
    expect(code).toBe(1)
    expect(stderr).toContain(
      'third_party/ComputeLibrary: version: expected 52.6.0, received 52.5.0\nremove third_party/ComputeLibrary and run fetch',
    )
  },
)

test('a clone by hand is known by its files, whatever its commit; while nothing is locked it is refused', async () => {
  const source = upstream()
  const lock = await locked(source)
  for (const [known, edited, message] of [
    [lock, false, 'ComputeLibrary 52.5.0 (git,'],
    [lock, true, `digest of the files: expected ${lock.tree}, received `],
    [{}, false, 'third_party/upstream.lock.json has no digest yet to know it by'],
  ]) {
    const repository = checkout({ git: urlOf(source), ...known })
    const clone = repository.path('third_party/ComputeLibrary')
    git(repository.path('third_party'), 'clone', '--quiet', source, 'ComputeLibrary')
    git(clone, 'commit', '--quiet', '--allow-empty', '--message=mine')
    write(path.join(clone, 'src/.DS_Store'), 'what Finder leaves')
    if (edited) write(path.join(clone, 'src/softmax.cpp'), 'edited\n')
    const { code, stderr } = await repository.run(['fetch'])
    expect(stderr).toContain(message)
    if (code) expect(stderr).toContain('remove third_party/ComputeLibrary and run fetch')
    expect(code).toBe(edited || known !== lock ? 1 : 0)
  }
})

test('a second fetch waits for the first', async () => {
  const source = upstream()
  tag(source)
  const repository = checkout({ git: urlOf(source) })
  const directory = temporary()
  const [started, go] = ['started', 'go'].map((name) => path.join(directory, name))
  write(
    path.join(directory, 'git'),
    `#!/bin/sh\necho there >"${started}"\nuntil [ -e "${go}" ]; do sleep 0.05; done\nPATH="${process.env.PATH}" exec git "$@"\n`,
    0o755,
  )
  const first = repository.start(['fetch'], { PATH: `${directory}:${process.env.PATH}` })
  while (!existsSync(started)) await sleep(50)
  const second = repository.start(['fetch'])
  const [said] = await once(second.child.stderr, 'data')
  expect(`${said}`).toContain(`fetch: another process (${first.child.pid}) is at it; waiting for it`)
  write(go, '')
  expect(await second.ended).toMatchObject({ code: 0, stderr: expect.not.stringContaining('fetching') })
  expect(await first.ended).toMatchObject({ code: 0 })
})

test('where the file system takes no hard links, the lock says so', async () => {
  const preload = path.join(temporary(), 'exfat.mjs')
  write(
    preload,
    `import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
fs.promises.link = async () => {
  throw Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM', syscall: 'link' })
}
syncBuiltinESMExports()
`,
  )
  const repository = checkout()
  const { code, stderr } = await repository.run(['fetch'], { NODE_OPTIONS: `--import ${preload}` })
  expect(code).toBe(1)
  expect(stderr).toContain('the file system takes no hard links (EPERM)')
  expect(readdirSync(repository.path('build/compute-library/sources'))).toEqual([])
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

test('a tag that is not there is an error, and no want of a network', async () => {
  const source = upstream()
  tag(source)
  git(source, 'tag', '--delete', 'v52.5.0')
  const { code, stderr } = await checkout({ git: urlOf(source) }).run(['fetch'])
  expect(code).toBe(1)
  expect(stderr).toMatch(/git clone of v52\.5\.0 failed\n.*Remote branch v52\.5\.0 not found/)
})

test.each([
  ['fatal: write error: No space left on device\nfatal: early EOF', 1, 'failed: the disk is full'],
  ["fatal: unable to access 'https://a.invalid/': Could not resolve host: a.invalid", 3, 'without network'],
  ["fatal: unable to access 'https://a.invalid/': Operation too slow. Less than 1000 bytes/sec", 3, 'without network'],
])('a clone that ends with %j', async (said, expected, message) => {
  const directory = temporary()
  write(path.join(directory, 'git'), `#!/bin/sh\ncat >&2 <<'E'\n${said}\nE\nexit 128\n`, 0o755)
  const { code, stderr } = await checkout().run(['fetch'], { PATH: `${directory}:${process.env.PATH}` })
  expect(code).toBe(expected)
  expect(stderr).toContain(message)
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
  expect(readdirSync(repository.path(`build/compute-library/sources/${sha256.slice(0, 16)}`))).toEqual([
    'source.json',
    'tree',
  ])
})

test('a disk that is full while a tarball is unpacked', async () => {
  const { file, sha256 } = await tarball(upstream())
  const known = { name: 'debian', version: '52.5.0', suite: 's', package: 'p', file: 'x', sha256, tree: null }
  const directory = temporary()
  write(path.join(directory, 'tar'), '#!/bin/sh\necho "tar: a.h: No space left on device" >&2\nexit 2\n', 0o755)
  const env = { ACL_SOURCE: file, PATH: `${directory}:${process.env.PATH}` }
  const { code, stderr } = await checkout({ alternates: [known] }).run(['fetch'], env)
  expect(code).toBe(1)
  expect(stderr).toContain(`the disk is full: unpacking ${file}`)
  expect(stderr).not.toContain('xz')
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

test('a directory is known by its files', async () => {
  const source = upstream()
  const lock = await locked(source)
  const repository = checkout(lock)
  const fetch = (...args) => repository.run(['fetch', ...args], { ACL_SOURCE: source })
  expect(await fetch()).toMatchObject({
    code: 0,
    stderr: expect.stringContaining(`ComputeLibrary 52.5.0 (directory, commit ${lock.commit})`),
  })
  write(path.join(source, 'src/softmax.cpp'), 'edited\n')
  const { code, stderr } = await fetch()
  expect(code).toBe(1)
  expect(stderr).toMatch(
    new RegExp(`expected the files of v52.5.0 \\(${lock.tree}\\)\nreceived files with digest \\w{64}\n`),
  )
  const allowed = await fetch('--allow-unlocked')
  expect(allowed).toMatchObject({ code: 0, stderr: expect.stringContaining('NOT LOCKED') })
  expect(allowed.stderr).not.toContain('main.mjs lock')

  const unrecorded = await checkout().run(['fetch'], { ACL_SOURCE: source })
  expect(unrecorded.code).toBe(1)
  expect(unrecorded.stderr).toContain('v52.5.0 (once it is locked: node tools/acl/main.mjs lock)')

  const plain = upstream({ version: '24.11' })
  const { tree, sha256 } = await tarball(plain)
  const known = { name: 'debian', version: '24.11', suite: 's', package: 'p', file: 'x.tar.gz', sha256, tree }
  const other = checkout({ alternates: [known] })
  expect((await other.run(['fetch'], { ACL_SOURCE: plain })).code).toBe(0)
  write(path.join(plain, 'src/softmax.cpp'), 'edited\n')
  const refused = await other.run(['fetch'], { ACL_SOURCE: plain })
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain(`or of x.tar.gz (${tree})`)
})

test.each([
  ['a link out of it', (file) => symlinkSync('../../elsewhere.cpp', file), 'expected a link to a place in'],
  ['an absolute link', (file) => symlinkSync('/etc/hostname', file), 'expected a link to a place in'],
  ['a named pipe', (file) => execFileSync('mkfifo', [file]), 'expected a file, a folder or a link'],
])('a directory with %s is refused: what would be built is not in its digest', async (_, make, message) => {
  const source = upstream()
  make(path.join(source, 'src/strange.cpp'))
  const { code, stderr } = await checkout().run(['fetch', '--allow-unlocked'], { ACL_SOURCE: source })
  expect(code).toBe(1)
  expect(stderr).toContain(message)
})

test('a directory that changes while it is copied is not built', async () => {
  const source = upstream()
  const preload = path.join(temporary(), 'late.mjs')
  write(
    preload,
    `import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
const { cp } = fs.promises
fs.promises.cp = async (from, ...rest) => {
  fs.writeFileSync(from + '/src/softmax.cpp', 'late')
  return cp(from, ...rest)
}
syncBuiltinESMExports()
`,
  )
  const repository = checkout(await locked(source))
  const env = { ACL_SOURCE: source, NODE_OPTIONS: `--import ${preload}` }
  const { code, stderr } = await repository.run(['patch'], env)
  expect(code).toBe(1)
  expect(stderr).toContain('was changed while it was copied')
  expect(repository.has('build/compute-library/edit/tree')).toBe(false)
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
  echo "http://archive.invalid/security/|\${ORIGIN-Debian}|main"
  echo "http://archive.invalid/debian/|\${ORIGIN-Debian}|main" ;;
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

test('apt without an archive of Debian: what it has is named', async () => {
  const known = { name: 'debian', version: '24.11', suite: 'trixie', package: 'package', sha256: 'b'.repeat(64) }
  const repository = checkout({ alternates: [{ ...known, tree: null, file: 'x.orig.tar.gz' }] })
  for (const [origin, message] of [
    ['Ubuntu', 'no archive of Debian, only of Ubuntu\nACL_SOURCE=DIRECTORY or'],
    ['', 'no archive of Debian\nrun apt-get update once first'],
  ])
    expect(await repository.run(['fetch'], { ...apt(''), ORIGIN: origin })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining(message),
    })
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
  expect((await checkout({ commit: 'main' }).run(['fetch'])).stderr).toContain(
    'expected null or 40 hex digits, received main',
  )
  const half = await checkout({ commit: 'a'.repeat(40) }).run(['fetch'])
  expect(half.stderr).toContain('expected commit and tree, or null for both')
  const range = { from: '53.1', to: '53.0.9', status: 'broken', note: 'wrong' }
  expect((await checkout({ versions: [range] }).run(['fetch'])).stderr).toContain('the older one first')
  const repository = checkout()
  repository.write('third_party/upstream.lock.json', '{')
  expect(await repository.run(['fetch'])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^third_party\/upstream\.lock\.json: .*JSON/),
  })
})
