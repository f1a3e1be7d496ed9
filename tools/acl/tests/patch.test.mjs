import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { checkout, git, locked, upstream } from './support/checkout.mjs'

const tree = 'build/compute-library/edit/tree'
const registration = 'patches/ComputeLibrary/registration.patch'

/** @type {string} */
let source
/** @type {ReturnType<typeof checkout>} */
let repository
beforeEach(async () => {
  source = upstream()
  repository = checkout(await locked(source))
})
const run = (...args) => repository.run(args, { ACL_SOURCE: source })

test('patch makes a patched copy; the source stays as it is', async () => {
  expect(await run('patch')).toMatchObject({ code: 0 })
  expect(repository.read(`${tree}/src/kernel.h`)).toBe('// The kernel.\nint kernel();\n')
  expect(repository.read(`${tree}/filelist.json`)).toContain('"IndexSoftmax": {},\n"Softmax"')
  expect(git(source, 'status', '--porcelain')).toBe('')
  expect(repository.has(`${tree}/.git`)).toBe(false)
})

test('inside a git repository, and from a hook of it, every file is patched', async () => {
  git(repository.root, 'init', '--quiet')
  const env = { ACL_SOURCE: source, GIT_DIR: repository.path('.git'), GIT_INDEX_FILE: repository.path('.git/index') }
  expect(await repository.run(['patch'], env)).toMatchObject({ code: 0 })
  expect(repository.read(`${tree}/filelist.json`)).toContain('IndexSoftmax')
  expect(repository.has(`${tree}/src/operator.cpp`)).toBe(true)
})

test('a hunk whose lines are elsewhere in the file applies', async () => {
  const later = upstream({ above: 40 })
  expect(await repository.run(['patch', '--allow-unlocked'], { ACL_SOURCE: later })).toMatchObject({ code: 0 })
  expect(repository.read(`${tree}/filelist.json`)).toContain('"Cast": {},\n"IndexSoftmax": {},\n"Softmax"')
})

test.each([
  [
    'a context line that is not there',
    (text) => text.replace(' "Softmax"', ' "SoftMax"'),
    'no such line: "SoftMax": {},',
  ],
  ['lines in another order', (text) => text.replace(' "Softmax": {},', ' {'), 'are not there in this order'],
  [
    'a file that is not there',
    (text) => text.replaceAll('filelist.json', 'file_list.json'),
    'file_list.json: the patch',
  ],
  ['a hunk that is cut off', (text) => text.replace(' "Softmax": {},\n', ''), 'hunk 1 is not as long as'],
  ['a path outside the tree', (text) => text.replaceAll('filelist.json', '../filelist.json'), 'not a path inside'],
])('a patch with %s is refused, and no tree is left', async (_, change, message) => {
  repository.edit(registration, change)
  const { code, stderr } = await run('patch')
  expect(code).toBe(1)
  expect(stderr).toContain('registration.patch')
  expect(stderr).toContain(message)
  expect(repository.has(tree)).toBe(false)
})

test('of a patch that does not apply the message has patch, file, hunk and version', async () => {
  repository.edit(registration, (text) => text.replace(' "Softmax"', ' "SoftMax"'))
  const { stderr } = await run('patch')
  expect(stderr).toContain('registration.patch does not apply to ComputeLibrary 52.5.0')
  expect(stderr).toContain('filelist.json, hunk 1 of 1 (@@ -2,2 +2,3 @@)')
})

test('a hunk whose lines are in the file twice is refused: git would take the nearer ones', async () => {
  const softmax = 'arm_compute/runtime/Softmax.h'
  const section = `diff --git a/${softmax} b/${softmax}\n--- a/${softmax}\n+++ b/${softmax}\n@@ -2 +2,2 @@\n }\n+// here\n`
  repository.edit(registration, (text) => text + section)
  const { code, stderr } = await run('patch')
  expect(code).toBe(1)
  expect(stderr).toContain('its lines are there 3 times (lines 2, 4, 6)')
})

test('a new file that the source has already is refused', async () => {
  repository.edit('patches/ComputeLibrary/operator.patch', (text) =>
    text.replaceAll('src/operator.cpp', 'src/softmax.cpp'),
  )
  expect((await run('patch')).stderr).toContain('src/softmax.cpp: the patch makes this file, but it is there already')
})

test('a series that names a missing patch, and one file in two patches, are refused', async () => {
  repository.edit('patches/ComputeLibrary/series', (text) => `${text}absent.patch\n`)
  expect((await run('patch')).stderr).toContain('names absent.patch, which is not there')
  repository.write('patches/ComputeLibrary/absent.patch', repository.read(registration))
  expect((await run('patch')).stderr).toContain('filelist.json: in two patches, registration.patch and absent.patch')
})

test('an edited tree is not overwritten unless told to', async () => {
  await run('patch')
  repository.edit(`${tree}/src/softmax.cpp`, (text) => `// mine\n${text}`)
  const refused = await run('patch')
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain(`${tree} was edited: src/softmax.cpp`)
  expect(await run('patch', '--discard')).toMatchObject({ code: 0 })
  expect(repository.read(`${tree}/src/softmax.cpp`)).not.toContain('mine')
})

const state = () =>
  ['series', 'operator.patch', 'registration.patch'].map((name) => repository.read(`patches/ComputeLibrary/${name}`))

test('what Finder leaves in a tree is no edit, and in no patch', async () => {
  const before = state()
  await run('patch')
  for (const name of ['.DS_Store', 'src/.DS_Store']) repository.write(`${tree}/${name}`, 'view')
  expect(await run('refresh')).toMatchObject({ code: 0 })
  expect(state()).toEqual(before)
})

test('refresh of an unedited tree changes no byte', async () => {
  const before = state()
  await run('patch')
  const { code, stderr } = await run('refresh')
  expect(code).toBe(0)
  expect(stderr).toContain('the patches are up to date')
  expect(state()).toEqual(before)
})

test('refresh exports edits: what it writes makes the same tree again', async () => {
  await run('patch')
  repository.edit(`${tree}/src/softmax.cpp`, (text) => text.replace('return 0', 'return 1'))
  repository.edit(`${tree}/filelist.json`, (text) => text.replace('"Softmax": {},\n', '"Softmax": {},\n"Last": {},\n'))
  repository.write(`${tree}/src/new.cpp`, 'int n;')
  const refused = await run('refresh')
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain('in no patch yet: src/new.cpp, src/softmax.cpp')
  expect(refused.stderr).toContain('--into operator.patch|registration.patch')
  expect((await run('refresh', '--into', 'third.patch')).stderr).toContain('expected one of operator.patch')
  expect(await run('refresh', '--into', 'operator.patch')).toMatchObject({ code: 0 })

  const operator = repository.read('patches/ComputeLibrary/operator.patch')
  expect(operator).toMatch(/^The operator\.\n\nTwo files, the second a copy of the kernel\.\n\ndiff --git /)
  expect(operator).not.toMatch(/^index /m)
  expect(operator.match(/^diff --git a\/(\S+)/gm)).toEqual(
    ['kernel.h', 'new.cpp', 'operator.cpp', 'softmax.cpp'].map((name) => `diff --git a/src/${name}`),
  )
  expect(repository.read(registration)).toContain('"Last"')

  const edited = repository.read(`${tree}/src/softmax.cpp`)
  execFileSync('rm', ['-r', repository.path('build')])
  await run('patch')
  expect(repository.read(`${tree}/src/softmax.cpp`)).toBe(edited)
  expect(repository.read(`${tree}/src/new.cpp`)).toBe('int n;')
  expect(await run('verify')).toMatchObject({ code: 0 })
})

test('refresh takes as many lines of context as make a hunk unambiguous', async () => {
  const softmax = 'arm_compute/runtime/Softmax.h'
  await run('patch')
  repository.edit(`${tree}/${softmax}`, (text) => text.replace('namespace b {\n}\n', 'namespace b {\n}\nint more();\n'))
  expect(await run('refresh', '--into', 'registration.patch')).toMatchObject({ code: 0 })
  expect(repository.read(registration)).toContain('@@ -4,2 +4,3 @@\n }\n+int more();\n int softmax();\n')
  repository.edit(`${tree}/${softmax}`, (text) => text.replace('namespace a {\n}\n', 'namespace a {\n\n}\n'))
  expect(await run('refresh')).toMatchObject({ code: 0 })
  expect(await run('verify')).toMatchObject({ code: 0 })
})

test('files that are deleted, and edits taken back, go through refresh', async () => {
  await run('patch')
  execFileSync('rm', [repository.path(`${tree}/src/softmax.cpp`)])
  repository.write(
    `${tree}/filelist.json`,
    repository.read(`${tree}/filelist.json`).replace('"IndexSoftmax": {},\n', ''),
  )
  expect(await run('refresh', '--into', 'operator.patch')).toMatchObject({ code: 0 })
  expect(repository.read('patches/ComputeLibrary/operator.patch')).toContain('deleted file mode 100644')
  expect(repository.read(registration)).toBe('Registration: one line.\n\n')
  expect(await run('patch')).toMatchObject({ code: 0 })
  const verified = await run('verify')
  expect(verified.code).toBe(1)
  expect(verified.stderr).toContain('registration.patch: changes nothing')
})

test('the series exported from another version differs by no byte', async () => {
  const later = upstream({ above: 40 })
  const before = state()
  await repository.run(['patch', '--allow-unlocked'], { ACL_SOURCE: later })
  expect(await repository.run(['refresh', '--allow-unlocked'], { ACL_SOURCE: later })).toMatchObject({ code: 0 })
  expect(state()).toEqual(before)
})

test('verify refuses a patch that the export would write differently', async () => {
  repository.edit(registration, (text) => text.replace('@@ -2,2 +2,3 @@\n', '@@ -1,3 +1,4 @@\n {\n'))
  const { code, stderr } = await run('verify')
  expect(code).toBe(1)
  expect(stderr).toContain('registration.patch: with ComputeLibrary 52.5.0, an export is not the patch again')
})

test('verify goes through every source at hand, and without any it fails', async () => {
  const none = await repository.run(['verify'])
  expect(none.code).toBe(1)
  expect(none.stderr).toContain('no source to verify the series with')
  const { code, stderr } = await run('verify')
  expect(code).toBe(0)
  expect(stderr).toContain('ComputeLibrary 52.5.0 (directory): 2 patches apply, export is the same')
  expect(repository.has('build/compute-library/verify')).toBe(false)
})

test('a kernel that changed is told by verify and carried over by refresh, with or without a tree', async () => {
  await run('patch')
  for (const [content, args] of [
    ['// The kernel.\nint faster();\n', ['refresh', '--copies']],
    ['// The kernel, again.\n', ['refresh']],
  ]) {
    repository.write('packages/kernels/src/kernel.h', content)
    const { code, stderr } = await run('verify', '--copies')
    expect(code).toBe(1)
    expect(stderr).toContain('src/kernel.h is not what packages/kernels/src/kernel.h has')
    expect(stderr).toContain('refresh --copies')
    expect(await run(...args)).toMatchObject({ code: 0 })
    expect(await run('verify')).toMatchObject({ code: 0 })
  }
  expect(repository.read(`${tree}/src/kernel.h`)).toBe('// The kernel, again.\n')
})

test('a copy edited in the tree is refused: the kernel is the place', async () => {
  await run('patch')
  repository.write(`${tree}/src/kernel.h`, 'int mine();\n')
  const { code, stderr } = await run('refresh')
  expect(code).toBe(1)
  expect(stderr).toContain('src/kernel.h was edited in the tree, but it is a copy: edit packages/kernels/src/kernel.h')
})

test('a copy that no patch carries is told', async () => {
  const entry = { from: 'packages/kernels/src/kernel.h', to: 'src/other.h' }
  repository.write('patches/ComputeLibrary/copies.json', JSON.stringify([entry]))
  expect((await run('verify', '--copies')).stderr).toContain('src/other.h is in no patch')
  repository.write('patches/ComputeLibrary/copies.json', JSON.stringify([{ ...entry, from: 'absent.h' }]))
  expect((await run('verify', '--copies')).stderr).toContain('names absent.h, which is not there')
})

test('refresh does not take back what the series has gained since the tree was made', async () => {
  await run('patch')
  repository.edit(`${tree}/src/operator.cpp`, (text) => `${text}int mine;\n`)
  repository.edit(registration, (text) => text.replace('+"IndexSoftmax": {},', '+"IndexSoftmax": { "new": 1 },'))
  const { code, stderr } = await run('refresh')
  expect(code).toBe(1)
  expect(stderr).toContain('made of another state of the series')
  expect(stderr).toContain('keep what you edited (src/operator.cpp)')
  expect(repository.read(registration)).toContain('"new"')
})

test('refresh of a directory that is no tree is refused', async () => {
  const { code, stderr } = await run('refresh', path.join(repository.root, 'packages'))
  expect(code).toBe(1)
  expect(stderr).toContain('expected a ComputeLibrary source tree')
  expect((await run('refresh')).stderr).toContain('patch makes a tree to edit')
})
