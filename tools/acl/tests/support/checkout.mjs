import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach } from 'vitest'
import { digestOf, digestOfFiles, filesOf } from '../../digest.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const main = path.resolve(here, '../../main.mjs')

/** @type {string[]} */
const made = []
afterEach(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true })
})

export function temporary() {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'intattn-acl-test-'))
  made.push(directory)
  return directory
}

/** @param {string} file @param {string} text @param {number} [mode] */
export function write(file, text, mode) {
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, text)
  if (mode) chmodSync(file, mode)
}

const kernel = '// The kernel.\nint kernel();\n'

/** A source tree as small as the tool can work with. */
export function upstream({ version = '52.5.0', above = 0 } = {}) {
  const directory = path.join(temporary(), 'ComputeLibrary')
  const files = {
    SConstruct: '# build\n',
    SConscript: `import os\n\nVERSION = "v${version}"\n`,
    'filelist.json': `{\n${'"above": 0,\n'.repeat(above)}"Cast": {},\n"Softmax": {},\n"Transpose": {}\n}\n`,
    'arm_compute/core/Types.h': '// types\n',
    'arm_compute/runtime/Softmax.h': 'namespace a {\n}\nnamespace b {\n}\nint softmax();\n}\n',
    'support/Mutex.h': '// mutex\n',
    'include/half/half.hpp': '// half\n',
    'LICENSES/MIT.txt': 'MIT\n',
    'src/softmax.cpp': 'int softmax() {\n  return 0;\n}\n',
    'scripts/run.sh': '#!/bin/sh\n',
  }
  for (const [name, text] of Object.entries(files)) write(path.join(directory, name), text)
  chmodSync(path.join(directory, 'scripts/run.sh'), 0o755)
  return directory
}

const identity = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b' }

/** @param {string} cwd @param {string[]} args */
export const git = (cwd, ...args) =>
  execFileSync('git', args, { cwd, encoding: 'utf8', stdio: 'pipe', env: { ...process.env, ...identity } }).trim()

/** Makes a source tree the tag v52.5.0 of a repository; returns the commit. @param {string} directory */
export function tag(directory) {
  git(directory, 'init', '--quiet', '--initial-branch=main')
  git(directory, 'add', '.')
  git(directory, 'commit', '--quiet', '--message=release')
  git(directory, 'tag', 'v52.5.0')
  return git(directory, 'rev-parse', 'HEAD')
}

/** Tags a source tree; returns what a lock has of it. @param {string} directory */
export async function locked(directory) {
  return { commit: tag(directory), tree: digestOfFiles(await filesOf(directory)) }
}

/** A tarball of a source tree, with the digests a lock has of it. @param {string} directory */
export async function tarball(directory) {
  const file = path.join(temporary(), 'source.tar.gz')
  execFileSync('tar', ['-czf', file, '-C', path.dirname(directory), path.basename(directory)])
  return { file, sha256: digestOf(readFileSync(file)), tree: digestOfFiles(await filesOf(directory)) }
}

export const seriesText = 'operator.patch # the operator\nregistration.patch\n'

const operatorPatch = `The operator.

Two files, the second a copy of the kernel.

diff --git a/src/kernel.h b/src/kernel.h
new file mode 100644
--- /dev/null
+++ b/src/kernel.h
@@ -0,0 +1,2 @@
+// The kernel.
+int kernel();
diff --git a/src/operator.cpp b/src/operator.cpp
new file mode 100644
--- /dev/null
+++ b/src/operator.cpp
@@ -0,0 +1 @@
+#include "kernel.h"
`

const registrationPatch = `Registration: one line.

diff --git a/filelist.json b/filelist.json
--- a/filelist.json
+++ b/filelist.json
@@ -2,2 +2,3 @@
 "Cast": {},
+"IndexSoftmax": {},
 "Softmax": {},
`

/**
 * A checkout of this repository with a lock and a series for \`upstream\`.
 * @param {{ git?: string, commit?: string | null, tree?: string | null, alternates?: object[], versions?: object[] }} [lock]
 */
export function checkout({ git: url = 'nowhere', commit = null, tree = null, alternates = [], versions = [] } = {}) {
  const root = temporary()
  const lock = { ComputeLibrary: { version: '52.5.0', tag: 'v52.5.0', git: url, commit, tree, alternates, versions } }
  write(path.join(root, 'third_party/upstream.lock.json'), JSON.stringify(lock))
  write(path.join(root, 'packages/kernels/src/kernel.h'), kernel)
  const patches = path.join(root, 'patches/ComputeLibrary')
  write(path.join(patches, 'series'), seriesText)
  write(path.join(patches, 'operator.patch'), operatorPatch)
  write(path.join(patches, 'registration.patch'), registrationPatch)
  write(path.join(patches, 'copies.json'), '[{ "from": "packages/kernels/src/kernel.h", "to": "src/kernel.h" }]\n')
  return {
    root,
    /** @param {string} name */
    path: (name) => path.join(root, name),
    /** @param {string} name */
    read: (name) => readFileSync(path.join(root, name), 'utf8'),
    /** @param {string} name @param {string} text */
    write: (name, text) => write(path.join(root, name), text),
    /** @param {string} name @param {(text: string) => string} change */
    edit: (name, change) => write(path.join(root, name), change(readFileSync(path.join(root, name), 'utf8'))),
    /** @param {string} name */
    has: (name) => existsSync(path.join(root, name)),
    lock: () => JSON.parse(readFileSync(path.join(root, 'third_party/upstream.lock.json'), 'utf8')).ComputeLibrary,
    /** @param {string[]} args @param {NodeJS.ProcessEnv} [env] */
    run: (args, env = {}) => run(root, args, env),
    /** @param {string[]} args @param {NodeJS.ProcessEnv} [env] */
    start: (args, env = {}) => start(root, args, env),
  }
}

/** @param {string} root @param {string[]} args @param {NodeJS.ProcessEnv} env */
function start(root, args, env) {
  const { ACL_SOURCE, CC, CXX, ...clean } = process.env
  const [program, ...rest] = env.BEFORE ? [...env.BEFORE.split(' '), process.execPath] : [process.execPath]
  const child = spawn(program, [...rest, main, '--root', root, ...args], {
    env: { ...clean, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const out = { stdout: '', stderr: '' }
  child.stdout.on('data', (data) => {
    out.stdout += data
  })
  child.stderr.on('data', (data) => {
    out.stderr += data
  })
  /** @type {Promise<{ code: number | null, stdout: string, stderr: string }>} */
  const ended = new Promise((resolve) => child.on('close', (code) => resolve({ code, ...out })))
  return { child, ended }
}

/** @param {string} root @param {string[]} args @param {NodeJS.ProcessEnv} env */
const run = (root, args, env) => start(root, args, env).ended

/**
 * Stand-ins for scons and the compilers, before the PATH.
 * @param {{ only?: boolean, without?: string[] }} [options] \`only\`: nothing else of the PATH but what every system has
 */
export function programs({ only = false, without = [] } = {}) {
  const directory = temporary()
  cpSync(path.join(here, 'programs'), directory, { recursive: true })
  for (const name of without) rmSync(path.join(directory, name))
  if (!only) return `${directory}${path.delimiter}${process.env.PATH}`
  for (const name of [
    'bash',
    'sh',
    'env',
    'git',
    'tar',
    'gzip',
    'node',
    'cat',
    'sleep',
    'mkdir',
    'ps',
    'cp',
    'chmod',
    'dirname',
  ]) {
    if (without.includes(name)) continue
    const found = process.env.PATH?.split(path.delimiter).find((part) => existsSync(path.join(part, name)))
    if (found) symlinkSync(path.join(found, name), path.join(directory, name))
  }
  return directory
}

/** What stand-ins can build here. */
export const target = process.platform === 'darwin' ? 'darwin-arm64' : 'linux-arm64'
export const cpu = process.platform === 'darwin' ? 'apple-m2' : 'armv8.6-a'
