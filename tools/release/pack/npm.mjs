import path from 'node:path'
import { $, fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'
import { platformPackage, platforms, rootPackage } from '../platforms.mjs'
import { copyLicences } from './licences.mjs'

const source = 'packages/acl'
/** What npm shows and decides by; the rest of package.json is for those who build. */
const published = ['version', 'description', 'keywords', 'license', 'homepage', 'bugs', 'repository']

const readManifest = () => fs.readJson(path.join(source, 'package.json'))

/** @param {object} manifest @param {string[]} names */
const pick = (manifest, names) =>
  Object.fromEntries(names.filter((name) => manifest[name] !== undefined).map((name) => [name, manifest[name]]))

/**
 * The npm package with TypeScript's part: compiled, with its platform packages as optional dependencies of the same version.
 * @param {string} stage an empty directory
 * @param {string} destination of the tarball
 */
export async function packRoot(stage, destination) {
  // Compiled here, not copied: a dist folder also has what was compiled from files that are gone.
  const flags = ['--outDir', path.join(stage, 'dist'), '--composite', 'false', '--sourceMap', 'false']
  const compiled = await $({ nothrow: true, quiet: true })`npx tsc -p ${source} ${flags}`
  if (compiled.exitCode !== 0) throw new Problem(`${rootPackage} does not compile`, compiled.stdout.trim())
  const manifest = await readManifest()
  await fs.copy(path.join(source, 'README.md'), path.join(stage, 'README.md'))
  for (const name of ['LICENSE', 'CHANGELOG.md']) await fs.copy(name, path.join(stage, name))
  const optionalDependencies = Object.fromEntries(
    Object.keys(platforms).map((platform) => [platformPackage(platform), manifest.version]),
  )
  await writeManifest(stage, {
    name: rootPackage,
    ...pick(manifest, [...published, 'type', 'engines', 'bin', 'exports']),
    files: ['dist', 'CHANGELOG.md'],
    optionalDependencies,
  })
  return npmPack(stage, destination)
}

/**
 * The npm package with the addons of a platform.
 * @param {object} options
 * @param {string} options.platform
 * @param {string} options.addons the folder of addons, checked
 * @param {string[]} options.licences directories with licences of what was linked
 * @param {string} options.stage an empty directory
 * @param {string} options.destination of the tarball
 */
export async function packPlatform({ platform, addons, licences, stage, destination }) {
  const manifest = await readManifest()
  const { os, cpu, libc } = platforms[platform]
  await fs.copy(addons, stage)
  await fs.writeFile(path.join(stage, 'index.cjs'), await moduleFor(addons))
  await fs.copy('LICENSE', path.join(stage, 'LICENSE'))
  await copyLicences(licences, path.join(stage, 'LICENSES'))
  await fs.writeFile(
    path.join(stage, 'README.md'),
    `# ${platformPackage(platform)}\n\nThe binaries of [${rootPackage}](https://www.npmjs.com/package/${rootPackage}) for ${platform}. ` +
      `Installing that package installs this one where it fits.\n`,
  )
  await writeManifest(stage, {
    name: platformPackage(platform),
    ...pick(
      manifest,
      published.filter((name) => name !== 'description'),
    ),
    description: `Binaries of ${rootPackage} for ${platform}`,
    engines: manifest.engines,
    ...{ os: [os], cpu: [cpu] },
    ...(libc && { libc: [libc] }),
    exports: { '.': './index.cjs', './package.json': './package.json', './addons.json': './addons.json' },
    files: ['index.cjs', '*.node', 'addons.json', 'LICENSES'],
    preferUnplugged: true,
  })
  return npmPack(stage, destination)
}

/**
 * The module of a platform package: where it lies, and, for tools that copy the files a program needs, what belongs to it.
 * @param {string} addons the folder of addons
 */
async function moduleFor(addons) {
  const manifest = await fs.readJson(path.join(addons, 'addons.json'))
  const files = ['addons.json', ...manifest.addons.map(({ file }) => file)]
  const names = files.map((file) => `require.resolve('./${file}')`)
  return `exports.folder = __dirname\nexports.files = () => [${names.join(', ')}]\n`
}

/** @param {string} stage @param {object} manifest */
async function writeManifest(stage, manifest) {
  // npm's provenance wants the repository that publishes.
  const { GITHUB_SERVER_URL = 'https://github.com', GITHUB_REPOSITORY } = process.env
  const repository = GITHUB_REPOSITORY && {
    repository: { type: 'git', url: `git+${GITHUB_SERVER_URL}/${GITHUB_REPOSITORY}.git`, directory: source },
  }
  const publishConfig = { access: 'public' }
  await fs.writeJson(path.join(stage, 'package.json'), { ...manifest, ...repository, publishConfig }, { spaces: 2 })
}

/** @returns {Promise<string>} the name of the tarball */
async function npmPack(stage, destination) {
  await fs.mkdirp(destination)
  const packed = await $({ nothrow: true, quiet: true })`npm pack ${stage} --pack-destination ${destination} --json`
  if (packed.exitCode !== 0) throw new Problem(`npm pack ${path.basename(stage)} failed`, packed.stderr.trim())
  const [{ filename, files }] = JSON.parse(packed.stdout)
  const there = (await fs.readdir(stage, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  if (files.length !== there.length)
    throw new Problem(`${filename}: expected ${there.length} files, received ${files.length}`)
  return filename
}
