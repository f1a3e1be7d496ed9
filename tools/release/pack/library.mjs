import path from 'node:path'
import { fs } from 'zx'
import { digestOfFile } from '../../acl/digest.mjs'
import { kernelsPrefix } from '../../native/build-kernels.mjs'
import { libraryName } from '../../native/targets.mjs'
import { createArchive, filesBelow, readEntry } from './archive.mjs'
import { copyLicences } from './licences.mjs'

/** What of a ComputeLibrary's build.json tells how it was made. */
const recorded = [
  'version',
  'source',
  'series',
  'target',
  'cpu',
  'requiredFeatures',
  'compiler',
  'flags',
  'environment',
  'operators',
]

/** @param {string} platform @param {string} cpu @param {string} version */
export const libraryArchive = (platform, cpu, version) => `intattn-acl-v${version}-${platform}-${cpu}.tar.gz`

/**
 * The tarball for C++ users: static libraries, headers, CMake package, the addons, an example, licences and a manifest.
 * @param {object} options
 * @param {string} options.platform
 * @param {string} options.cpu
 * @param {string[]} options.alsoFor CPUs for which the same bytes were made
 * @param {import('../../native/targets.mjs').Build} options.build of the libraries
 * @param {string} options.addons the folder of addons, checked
 * @param {string} options.version
 * @param {string} options.stage an empty directory
 * @param {string} options.destination of the tarball
 * @returns {Promise<string>} its name
 */
export async function packLibrary({ platform, cpu, alsoFor, build, addons, version, stage, destination }) {
  const archive = libraryArchive(platform, cpu, version)
  const folder = path.join(stage, archive.replace('.tar.gz', ''))
  const kernels = kernelsPrefix(platform)
  for (const name of ['include', 'lib']) await fs.copy(path.join(kernels, name), path.join(folder, name))
  const prefix = build.cpus.length ? path.join('build/compute-library', libraryName(build, cpu)) : undefined
  const facts = prefix && (await fs.readJson(path.join(prefix, 'build.json')))
  if (prefix) {
    for (const name of ['include', 'lib']) await fs.copy(path.join(prefix, name), path.join(folder, name))
    await writePackage(folder, facts)
  }
  await copyLicences(prefix ? [path.join(prefix, 'LICENSES')] : [], path.join(folder, 'LICENSES'))
  await fs.copy('LICENSE', path.join(folder, 'LICENSE'))
  for (const name of ['CMakeLists.txt', 'main.cc', 'block_attention.cc', 'kv_cache.cc'])
    await fs.copy(path.join('examples/cpp', name), path.join(folder, 'example', name))
  await fs.copy(addons, path.join(folder, 'addon'))
  await fs.copy(path.join(import.meta.dirname, 'library-readme.md'), path.join(folder, 'README.md'))

  const manifest = {
    ...{ name: 'intattn-acl', version, platform, cpu, alsoFor },
    kernels: await fs.readJson(path.join(kernels, 'kernels.json')),
    ...(facts && {
      computeLibrary: Object.fromEntries(recorded.map((name) => [name, facts[name]])),
    }),
    files: await describeFiles(folder),
  }
  await fs.writeJson(path.join(folder, 'manifest.json'), manifest, { spaces: 2 })
  await createArchive(path.join(destination, archive), folder)
  return archive
}

/**
 * The manifest in a tarball.
 * @param {string} archive
 */
export const readManifest = async (archive) =>
  JSON.parse(await readEntry(archive, `${path.basename(archive, '.tar.gz')}/manifest.json`))

/**
 * CMake's description of the ComputeLibrary in the package.
 * @param {string} folder
 * @param {{ version: string, requiredFeatures: string[] }} facts
 */
async function writePackage(folder, { version, requiredFeatures }) {
  const name = 'IntAttnComputeLibrary.cmake'
  const template = await fs.readFile(path.join(import.meta.dirname, name), 'utf8')
  const text = template.replace('@version@', version).replace('@requiredFeatures@', requiredFeatures.join(' '))
  await fs.writeFile(path.join(folder, 'lib/cmake/IntAttn', name), text)
}

/** Path to size and digest of every file. @param {string} folder */
async function describeFiles(folder) {
  /** @type {Record<string, { size: number, sha256: string }>} */
  const files = {}
  for (const name of await filesBelow(folder)) {
    const file = path.join(folder, name)
    files[name] = { size: (await fs.stat(file)).size, sha256: await digestOfFile(file) }
  }
  return files
}
