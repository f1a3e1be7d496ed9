import { createHash } from 'node:crypto'
import { readFile, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { digestOf, digestOfFile } from '../../acl/digest.mjs'
import { lockCommand } from '../../acl/lock.mjs'
import { Problem } from '../../acl/problem.mjs'

/**
 * A file that is attached to the release on GitHub.
 * @typedef {object} Asset
 * @property {string} name
 * @property {number} size
 * @property {string} sha256
 * @property {string[]} alsoFor CPUs besides the one in its name
 * @property {() => Promise<Buffer>} read its content, found to have that digest
 */

/**
 * @typedef {object} Package
 * @property {string} name
 * @property {string} version
 * @property {string} file path of the tarball
 * @property {string} integrity as the registry has it
 */

/**
 * What is published.
 * @typedef {object} Release
 * @property {string} version
 * @property {string} tag
 * @property {boolean} prerelease
 * @property {string} directory
 * @property {Asset[]} assets the last is SHA256SUMS
 * @property {Package[]} packages in the order in which they are published
 */

/** What an asset must be smaller than, in bytes. */
const largest = 2 ** 31

/** The name of the list of digests, in the format of sha256sum. */
const sums = 'SHA256SUMS'

// GitHub renames assets with other names than these, and nothing here leads out of the directory.
const segment = '[A-Za-z0-9_-](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?'
const relativePath = new RegExp(`^(?:${segment}/)*${segment}$`)
const number = '(?:0|[1-9]\\d*)'
const releaseVersion = new RegExp(`^${number}\\.${number}\\.${number}(?:-[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*)?$`)
const packageName = /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/

/**
 * Reads release.json and compares all files with what it says of them.
 * @param {string} directory build/release
 * @returns {Promise<Release>}
 */
export async function readRelease(directory) {
  const listed = await readList(directory)
  const { version } = listed
  check('version', matches(version, releaseVersion), 'X.Y.Z or X.Y.Z-NAME', version)
  check('tag', listed.tag === `v${version}`, `v${version}`, listed.tag)
  for (const key of ['assets', 'npm'])
    check(key, Array.isArray(listed[key]) && listed[key].length > 0, 'a list that is not empty', listed[key])

  const root = await realpath(directory)
  /** @type {Asset[]} */
  const assets = []
  for (const [i, entry] of listed.assets.entries()) assets.push(await assetOf(root, entry, `assets[${i}]`))
  /** @type {Package[]} */
  const packages = []
  for (const [i, entry] of listed.npm.entries()) packages.push(await packageOf(root, entry, `npm[${i}]`, version))

  for (const [what, names] of Object.entries({ assets, npm: packages })) {
    const twice = names.find(({ name }, i) => names.findIndex((other) => other.name === name) !== i)
    if (twice) throw new Problem(`release.json: ${what}: ${twice.name} is there twice`)
  }
  return {
    version,
    tag: listed.tag,
    prerelease: version.includes('-'),
    directory: root,
    assets: withSums(assets),
    packages,
  }
}

/** @param {string} directory */
async function readList(directory) {
  const place = path.join(directory, 'release.json')
  const text = await readFile(place, 'utf8').catch((error) => {
    if (error.code !== 'ENOENT') throw error
    throw new Problem(`missing: ${place}`, 'make it: node tools/release/main.mjs pack')
  })
  try {
    const listed = JSON.parse(text)
    if (typeof listed === 'object' && listed !== null) return listed
  } catch (error) {
    throw new Problem(`${place}: ${error.message}`)
  }
  throw new Problem(`${place}: expected an object, received ${shown(text.trim())}`)
}

/**
 * @param {string} place in release.json
 * @param {boolean} isRight
 * @param {string} expected
 * @param {unknown} received
 */
function check(place, isRight, expected, received) {
  if (!isRight) throw new Problem(`release.json: ${place}: expected ${expected}, received ${shown(received)}`)
}

/** @param {unknown} value @param {RegExp} pattern */
const matches = (value, pattern) => typeof value === 'string' && pattern.test(value)

/** @param {unknown} value */
function shown(value) {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 80 ? `${text.slice(0, 79)}…` : text
}

/**
 * @param {string} root
 * @param {any} entry
 * @param {string} place
 */
async function checkedFile(root, entry, place) {
  const { file, size, sha256 } = entry ?? {}
  check(`${place}.file`, matches(file, relativePath), 'a path in this directory of letters, digits, ., _ and -', file)
  check(`${place}.size`, Number.isInteger(size) && size > 0, 'a number of bytes', size)
  check(`${place}.sha256`, matches(sha256, /^[0-9a-f]{64}$/), '64 hex digits', sha256)
  const absolute = path.join(root, file)
  const real = await realpath(absolute).catch(() => undefined)
  if (!real) throw new Problem(`release.json: ${place}: missing: ${absolute}`)
  const found = await stat(real)
  if (real !== absolute || !found.isFile())
    throw new Problem(`release.json: ${place}: ${absolute}: expected a file, received a link or a directory`)
  check(`${place}.size: ${file}`, found.size === size, `${size} bytes`, found.size)
  const digest = await digestOfFile(real)
  check(`${place}.sha256: ${file}`, digest === sha256, sha256, digest)
  return absolute
}

/**
 * @param {string} root
 * @param {any} entry
 * @param {string} place
 * @returns {Promise<Asset>}
 */
async function assetOf(root, entry, place) {
  const file = await checkedFile(root, entry, place)
  const { size, sha256, alsoFor = [] } = entry
  const named = Array.isArray(alsoFor) && alsoFor.every((cpu) => matches(cpu, new RegExp(`^${segment}$`)))
  check(`${place}.alsoFor`, named, 'a list of names of CPUs', alsoFor)
  if (entry.locked === false)
    throw new Problem(
      `release.json: ${place}: ${entry.file} is built from a ComputeLibrary that is not locked`,
      `to lock it: ${lockCommand}; then pack again`,
    )
  check(`${place}.size`, size < largest, 'less than 2 GiB, which is what GitHub takes', size)
  const read = async () => {
    const content = await readFile(file)
    if (digestOf(content) !== sha256) throw new Problem(`${file}: was changed while it was being published`)
    return content
  }
  return { name: path.basename(file), size, sha256, alsoFor, read }
}

/**
 * @param {string} root
 * @param {any} entry
 * @param {string} place
 * @param {string} version
 * @returns {Promise<Package>}
 */
async function packageOf(root, entry, place, version) {
  const file = await checkedFile(root, entry, place)
  check(`${place}.name`, matches(entry.name, packageName), 'the name of a package', entry.name)
  check(`${place}.version`, entry.version === version, version, entry.version)
  const integrity = `sha512-${createHash('sha512')
    .update(await readFile(file))
    .digest('base64')}`
  return { name: entry.name, version, file, integrity }
}

/**
 * @param {Asset[]} assets
 * @returns {Asset[]}
 */
function withSums(assets) {
  const files = assets.filter(({ name }) => name !== sums)
  const digests = new Map(files.map(({ name, sha256 }) => [name, sha256]))
  const content = Buffer.from(
    [...digests.keys()]
      .sort()
      .map((name) => `${digests.get(name)}  ${name}\n`)
      .join(''),
  )
  const made = { name: sums, size: content.length, sha256: digestOf(content), alsoFor: [], read: async () => content }
  const listed = assets.find(({ name }) => name === sums)
  if (listed && listed.sha256 !== made.sha256)
    throw new Problem(`${sums}: expected the digests of the other assets:`, content.toString().trimEnd())
  return [...files, made]
}
