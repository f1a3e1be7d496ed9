// The locked source: what vouches for it, and what a repository that was handed in can do about that.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { layoutOf } from '../layout.mjs'
import { readLock } from '../lock.mjs'
import { experienceWith } from '../versions.mjs'
import { checkout, cpu, git, locked, programs, tag, target, temporary, upstream, write } from './support/checkout.mjs'

const urlOf = (directory) => `file://${directory}`
const command = 'node tools/acl/main.mjs lock'
const softmax = 'src/softmax.cpp'

/** Moves the tag to other content. @param {string} source */
function move(source) {
  write(path.join(source, softmax), 'int softmax() {\n  return 1;\n}\n')
  git(source, 'commit', '--quiet', '--all', '--message=moved')
  git(source, 'tag', '--force', 'v52.5.0')
}

test('until the lock names it, a fetched tag is not locked; lock records it from the first fetch', async () => {
  const source = upstream()
  const lock = await locked(source)
  const repository = checkout({ git: urlOf(source) })
  for (let i = 0; i < 2; i += 1) {
    const { code, stderr } = await repository.run(['fetch'])
    expect(stderr).toContain(`NOT LOCKED: nothing vouches for this ComputeLibrary 52.5.0`)
    expect(stderr).toContain(`to lock what was fetched: ${command}`)
    expect(code).toBe(0)
    expect(repository.lock()).toMatchObject({ commit: null, tree: null })
  }
  // What was fetched first is locked, not what the tag has become.
  move(source)
  const before = repository.read('third_party/upstream.lock.json')
  const { code, stdout, stderr } = await repository.run(['lock'])
  expect(code).toBe(0)
  expect(stderr).toContain(`commit ${lock.commit} of v52.5.0`)
  expect(repository.lock()).toMatchObject(lock)
  const after = repository.read('third_party/upstream.lock.json')
  repository.write('third_party/upstream.lock.json', before)
  write(path.join(repository.root, 'change'), stdout)
  execFileSync('git', ['apply', 'change'], { cwd: repository.root })
  expect(repository.read('third_party/upstream.lock.json')).toBe(after)
  expect(await repository.run(['fetch'])).toMatchObject({ code: 0, stderr: expect.not.stringContaining('NOT LOCKED') })
  const again = await repository.run(['lock'])
  expect(again).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining(`commit ${lock.commit}`) })
})

test('lock fetches what is not here yet, and takes no other source than the tag', async () => {
  const source = upstream()
  const lock = await locked(source)
  const repository = checkout({ git: urlOf(source) })
  const { code, stderr } = await repository.run(['lock'], { ACL_SOURCE: source })
  expect([code, stderr]).toEqual([2, expect.stringContaining('expected no ACL_SOURCE')])
  expect(await repository.run(['lock'])).toMatchObject({ code: 0 })
  expect(repository.lock()).toMatchObject(lock)
})

test('build.json says whether the source is locked', async () => {
  const source = upstream()
  tag(source)
  const repository = checkout({ git: urlOf(source) })
  const build = async () => {
    expect(await repository.run(['build', '--target', target], { PATH: programs() })).toMatchObject({ code: 0 })
    return JSON.parse(repository.read(`build/compute-library/${target}-${cpu}/build.json`)).source.locked
  }
  expect(await build()).toBe(false)
  await repository.run(['lock'])
  expect(await build()).toBe(true)
})

test.each(['fetch', 'lock'])('%s refuses a tag that moved after it was locked; nothing is left', async (name) => {
  const source = upstream()
  const lock = await locked(source)
  move(source)
  const repository = checkout({ git: urlOf(source), ...lock })
  const { code, stderr } = await repository.run([name])
  expect(code).toBe(1)
  expect(stderr).toContain(`expected ${lock.commit}, received ${git(source, 'rev-parse', 'HEAD')}`)
  expect(readdirSync(repository.path('third_party'))).toEqual(['upstream.lock.json'])
  expect(repository.lock()).toMatchObject(lock)
})

test('what is fetched and locked is what the commit has, whatever attributes and this machine make of it', async () => {
  const source = upstream()
  write(path.join(source, '.gitattributes'), '*.cpp filter=shout\n*.h text eol=crlf\nSConstruct ident\n')
  write(path.join(source, 'SConstruct'), '# $Id$\n')
  const lock = await locked(source)
  const home = temporary()
  write(path.join(home, '.gitconfig'), '[filter "shout"]\n\tsmudge = tr a-z A-Z\n[core]\n\tautocrlf = true\n')
  const env = { HOME: home, XDG_CONFIG_HOME: home }
  const repository = checkout({ git: urlOf(source) })
  expect(await repository.run(['lock'], env)).toMatchObject({ code: 0 })
  expect(repository.lock()).toMatchObject(lock)

  // What git leaves is looked at all the same.
  const directory = temporary()
  const clone = `case "$*" in *clone*) for place; do :; done; echo more >>"$place/${softmax}" ;; esac`
  write(path.join(directory, 'git'), `#!/bin/sh\nPATH="${process.env.PATH}"\ngit "$@" || exit\n${clone}\n`, 0o755)
  const other = checkout({ git: urlOf(source) })
  const { code, stderr } = await other.run(['lock'], { PATH: `${directory}:${process.env.PATH}` })
  expect(code).toBe(1)
  expect(stderr).toContain(`git has not checked out what the commit has: ${softmax}`)
  expect(other.lock().commit).toBe(null)
})

/** A repository whose configuration names a program wherever git takes one; `ran` says which of them ran. @param {string} source */
function armed(source) {
  const directory = temporary()
  const marks = path.join(directory, 'marks')
  mkdirSync(marks)
  const program = (name) => {
    const file = path.join(directory, name)
    write(file, `#!/bin/sh\necho >"${marks}/${name}"\ncat "$@" 2>/dev/null\nexit 0\n`, 0o755)
    return file
  }
  const config = (key, value) => git(source, 'config', key, value)
  for (const hook of readdirSync(path.join(source, '.git/hooks')))
    write(path.join(directory, 'hooks', hook.replace('.sample', '')), '', 0o755)
  for (const hook of [
    'post-checkout',
    'post-index-change',
    'reference-transaction',
    'post-command',
    'fsmonitor-watchman',
  ])
    write(path.join(directory, 'hooks', hook), `#!/bin/sh\necho >"${marks}/hook-${hook}"\n`, 0o755)
  config('core.hooksPath', path.join(directory, 'hooks'))
  config('core.sshCommand', program('ssh'))
  config('core.gitProxy', program('proxy'))
  config('core.pager', program('pager'))
  config('core.editor', program('editor'))
  config('core.askPass', program('askpass'))
  config('credential.helper', `!${program('credential')}`)
  config('gpg.program', program('gpg'))
  config('diff.external', program('external'))
  config('diff.armed.textconv', program('textconv'))
  config('diff.armed.command', program('command'))
  config('merge.armed.driver', program('merge'))
  config('filter.armed.clean', program('clean'))
  config('filter.armed.smudge', program('smudge'))
  config('filter.armed.required', 'true')
  write(path.join(source, '.git/info/attributes'), '* filter=armed diff=armed merge=armed\n')
  write(path.join(source, '.git/objects/info/alternates'), `${path.join(directory, 'objects')}\n`)
  mkdirSync(path.join(directory, 'objects'))
  // The rest comes from a file that is included.
  write(
    path.join(directory, 'included'),
    `[core]\n\tfsmonitor = ${program('fsmonitor')}\n[alias]\n\tapply = !${program('alias')}\n`,
  )
  config(`includeIf.gitdir:${realpathSync(source)}/.path`, path.join(directory, 'included'))
  return { ran: () => readdirSync(marks).sort() }
}

test('of a repository that is handed in nothing runs, and the digest of its files decides', async () => {
  const source = upstream()
  const lock = await locked(source)
  const { ran } = armed(source)
  const env = { ACL_SOURCE: source, PATH: programs() }
  const repository = checkout(lock)
  const tree = 'build/compute-library/edit/tree'
  const all = async () => {
    for (const args of [['fetch'], ['patch'], ['verify'], ['build', '--target', target]])
      expect(await repository.run(args, env)).toMatchObject({
        code: 0,
        stderr: expect.not.stringContaining('NOT LOCKED'),
      })
    repository.edit(`${tree}/${softmax}`, (text) => text.replace('return 0', 'return 2'))
    expect(await repository.run(['refresh', '--into', 'operator.patch'], env)).toMatchObject({ code: 0 })
    expect(repository.read('patches/ComputeLibrary/operator.patch')).toContain('+  return 2;')
  }
  await all()
  expect(ran()).toEqual([])
  expect(existsSync(repository.path(`${tree}/.git`))).toBe(false)
  // It was loaded.
  write(path.join(source, softmax), 'edited\n')
  git(source, 'status')
  git(source, 'diff')
  git(source, 'add', softmax)
  expect(ran()).toEqual(expect.arrayContaining(['clean', 'command', 'fsmonitor', 'hook-post-index-change']))
})

test.each([
  [
    'update-index --assume-unchanged',
    (source) => {
      git(source, 'update-index', '--assume-unchanged', softmax)
      write(path.join(source, softmax), 'edited\n')
    },
  ],
  [
    'update-index --skip-worktree',
    (source) => {
      git(source, 'update-index', '--skip-worktree', softmax)
      write(path.join(source, softmax), 'edited\n')
    },
  ],
  [
    'git replace',
    (source) => {
      const commit = git(source, 'rev-parse', 'HEAD')
      move(source)
      git(source, 'replace', commit, git(source, 'rev-parse', 'HEAD'))
      git(source, 'reset', '--quiet', '--hard', commit)
    },
  ],
  [
    'an ignored file',
    (source) => {
      write(path.join(source, '.git/info/exclude'), '*.inl\n')
      write(path.join(source, 'src/more.inl'), 'int more;\n')
    },
  ],
])('an edit that %s hides from git is not built as the locked source', async (_, hide) => {
  const source = upstream()
  const lock = await locked(source)
  hide(source)
  expect(git(source, 'status', '--porcelain')).toBe('')
  expect(git(source, 'rev-parse', 'HEAD')).toBe(lock.commit)
  const there = readFileSync(path.join(source, softmax), 'utf8')
  const repository = checkout(lock)
  const refused = await repository.run(['patch'], { ACL_SOURCE: source })
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`expected the files of v52.5.0 (${lock.tree})`),
  })
  // What is allowed all the same is what is there, and is called what it is.
  const allowed = await repository.run(['patch', '--allow-unlocked'], { ACL_SOURCE: source })
  expect(allowed).toMatchObject({ code: 0, stderr: expect.stringContaining('NOT LOCKED') })
  expect(repository.read(`build/compute-library/edit/tree/${softmax}`)).toBe(there)
})

test('what is known of the series with a version is said where another one is handed in', async () => {
  const range = (from, to, status) => ({ from, to, status, note: `of ${from}` })
  const versions = [
    range('53.3', '53.3', 'broken'),
    range('52.6', '53.4', 'limited'),
    range('24.11', '24.11', 'tested'),
    range('52.5', '52.5', 'expected'),
  ]
  for (const [version, status] of [
    ['24.11', 'tested'],
    ['52.5.0', 'expected'],
    ['52.5.1', 'unknown'],
    ['53.3.1', 'limited'],
    ['53.4.0', 'limited'],
  ])
    expect(experienceWith({ versions }, version).status, version).toBe(status)
  const repository = checkout({ versions })
  for (const [version, expected] of [
    ['24.11', undefined],
    ['53.3.0', '53.3.0: KNOWN NOT TO WORK: of 53.3'],
    ['54.0', '54.0: nothing is known of the series with this version'],
  ]) {
    const { stderr } = await repository.run(['fetch', '--allow-unlocked'], { ACL_SOURCE: upstream({ version }) })
    if (expected) expect(stderr).toContain(`the series with ComputeLibrary ${expected}`)
    else expect(stderr).not.toContain('the series')
  }
})

test('the series is known to work with what the lock names', async () => {
  const lock = await readLock(layoutOf(path.resolve(import.meta.dirname, '../../..')))
  for (const { version } of [lock, ...lock.alternates])
    expect(['tested', 'expected'], version).toContain(experienceWith(lock, version).status)
})
