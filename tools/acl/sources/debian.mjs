import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { $ } from 'zx/core'
import { digestOfFile } from '../digest.mjs'
import { Problem, Unavailable } from '../problem.mjs'
import { whole } from '../temporary.mjs'
import { tarballSource } from './tarball.mjs'

/** The package archive that this machine's apt uses, as apt names it. */
async function archive() {
  const format = '$(REPO_URI)|$(ORIGIN)|$(COMPONENT)'
  const listed = await $({ nothrow: true, quiet: true })`apt-get indextargets --format ${format}`
  if (listed.exitCode === 127)
    throw new Unavailable('ACL_SOURCE=debian: missing: apt-get (it is for Debian and its kin)')
  const archives = listed.stdout.split('\n').flatMap((line) => {
    const [address, origin, component] = line.split('|')
    return origin ? [{ address, origin, component }] : []
  })
  const debian = archives.find(
    ({ address, origin, component }) => origin === 'Debian' && component === 'main' && !/security/.test(address),
  )
  if (debian) return debian.address
  const others = [...new Set(archives.map(({ origin }) => origin))].join(', ')
  throw new Unavailable(
    `ACL_SOURCE=debian: this machine's apt knows no archive of Debian${others && `, only of ${others}`}`,
    others ? 'ACL_SOURCE=DIRECTORY or ACL_SOURCE=TARBALL names another source' : 'run apt-get update once first',
  )
}

/**
 * Debian's source package, through the archive that this machine's apt is configured for, with lists and cache of its own.
 * @param {import('../layout.mjs').Layout} layout
 * @param {import('../lock.mjs').Lock} lock
 * @param {{ say: (text: string) => void }} options
 */
export async function debianSource(layout, lock, { say }) {
  const alternate = lock.alternates.find(({ name }) => name === 'debian')
  if (!alternate) throw new Problem(`${layout.name(layout.lock)}: no alternate named debian`)
  const file = path.join(layout.sources, alternate.file)
  if (!existsSync(file) || (await digestOfFile(file)) !== alternate.sha256) {
    const address = await archive()
    say(`fetching ${alternate.file} through apt`)
    const apt = await mkdtemp(path.join(os.tmpdir(), 'intattn-apt-'))
    try {
      await whole(file, (partial) => download(apt, address, alternate, partial))
    } finally {
      await rm(apt, { recursive: true, force: true })
    }
  }
  return tarballSource(layout, lock, file, { say })
}

/**
 * @param {string} apt a directory for apt's own files
 * @param {string} address of the archive
 * @param {import('../lock.mjs').Alternate} alternate
 * @param {string} place of the tarball
 */
async function download(apt, address, alternate, place) {
  const sources = path.join(apt, 'parts/source.sources')
  for (const name of ['parts', 'lists/partial', 'cache/archives/partial', 'out'])
    await mkdir(path.join(apt, name), { recursive: true })
  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
  const lines = ['Types: deb-src', `URIs: ${address}`, `Suites: ${alternate.suite}`, 'Components: main']
  if (existsSync(keyring)) lines.push(`Signed-By: ${keyring}`)
  await writeFile(sources, `${lines.join('\n')}\n`)
  const options = Object.entries({
    'Dir::Etc::sourcelist': '/dev/null',
    'Dir::Etc::sourceparts': path.join(apt, 'parts'),
    'Dir::State::lists': path.join(apt, 'lists'),
    'Dir::Cache': path.join(apt, 'cache'),
    'APT::Sandbox::User': '',
  }).flatMap(([name, value]) => ['-o', `${name}=${value}`])
  const run = $({ nothrow: true, quiet: true, cwd: path.join(apt, 'out') })
  const updated = await run`apt-get ${options} update`
  const version = alternate.file.replace(/^[^_]*_|\.orig\.tar\..*$/g, '')
  // apt may not find the other files of the package: the exit code says nothing about the tarball.
  const fetched = await run`apt-get ${options} --download-only source ${alternate.package}`
  const tarball = path.join(apt, 'out', alternate.file)
  if (!existsSync(tarball))
    throw new Unavailable(
      `ACL_SOURCE=debian: apt did not deliver ${alternate.file} (version ${version} of suite ${alternate.suite})`,
      [updated, fetched]
        .map(({ stderr }) => stderr.trim())
        .filter(Boolean)
        .join('\n'),
    )
  const sha256 = await digestOfFile(tarball)
  if (sha256 !== alternate.sha256)
    throw new Problem(`${alternate.file}: sha256: expected ${alternate.sha256}, received ${sha256}`)
  await rename(tarball, place).catch(async (error) => {
    if (error.code !== 'EXDEV') throw error
    await copyFile(tarball, place)
  })
}
