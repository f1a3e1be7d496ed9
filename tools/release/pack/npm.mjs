import path from 'node:path'
import { $, fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'
import { benchPackage, platformPackage, platforms, rootPackage } from '../platforms.mjs'
import { copyLicences } from './licences.mjs'

/** Where the packages are made. */
const folders = { [rootPackage]: 'packages/acl', [benchPackage]: 'packages/bench' }
/** What npm shows and decides by; the rest of package.json is for those who build. */
const published = ['version', 'description', 'keywords', 'license', 'homepage', 'bugs', 'repository']

/** @param {string} name of a package */
const readManifest = (name) => fs.readJson(path.join(folders[name], 'package.json'))

/** @param {object} manifest @param {string[]} names */
const pick = (manifest, names) =>
  Object.fromEntries(names.filter((name) => manifest[name] !== undefined).map((name) => [name, manifest[name]]))

/**
 * The npm package with TypeScript's part: compiled, with its platform packages as optional dependencies of the same version.
 * @param {string} stage an empty directory
 * @param {string} destination of the tarball
 */
export async function packRoot(stage, destination) {
  await compile(rootPackage, stage)
  const manifest = await readManifest(rootPackage)
  await copyTexts(rootPackage, stage)
  const optionalDependencies = Object.fromEntries(
    Object.keys(platforms).map((platform) => [platformPackage(platform), manifest.version]),
  )
  await writeManifest(stage, folders[rootPackage], {
    name: rootPackage,
    ...pick(manifest, [...published, 'type', 'engines', 'bin', 'exports']),
    files: ['dist', 'CHANGELOG.md'],
    optionalDependencies,
  })
  return npmPack(stage, destination)
}

/**
 * The npm package with the benchmark: a command, its real input and the input's licence. What a checkout installs where it can, the
 * engine to compare with, is left to users, as it is a hundred times as large.
 * @param {string} stage an empty directory
 * @param {string} destination of the tarball
 */
export async function packBench(stage, destination) {
  await compile(benchPackage, stage, '--declaration', 'false')
  const { optionalDependencies, ...manifest } = await readManifest(benchPackage)
  await copyTexts(benchPackage, stage)
  await fs.copy(path.join(folders[benchPackage], 'data'), path.join(stage, 'data'))
  await writeManifest(stage, folders[benchPackage], {
    name: benchPackage,
    ...pick(manifest, [...published, 'type', 'engines', 'bin']),
    files: ['dist', 'data', 'CHANGELOG.md'],
    dependencies: { ...manifest.dependencies, [rootPackage]: manifest.version },
    peerDependencies: optionalDependencies,
    peerDependenciesMeta: Object.fromEntries(
      Object.keys(optionalDependencies).map((name) => [name, { optional: true }]),
    ),
  })
  return npmPack(stage, destination)
}

/**
 * Compiles a package's TypeScript into a stage. Not copied from its dist folder, which also has what was compiled from files that are
 * gone.
 * @param {string} name of the package
 * @param {string} stage
 * @param {...string} options of tsc
 */
async function compile(name, stage, ...options) {
  const quiet = $({ nothrow: true, quiet: true })
  // The declarations of what it imports.
  const known = name === rootPackage ? undefined : await quiet`npx tsc -b ${folders[rootPackage]}`
  const flags = ['--outDir', path.join(stage, 'dist'), '--composite', 'false', '--sourceMap', 'false', ...options]
  const compiled = known?.exitCode ? known : await quiet`npx tsc -p ${folders[name]} ${flags}`
  if (compiled.exitCode !== 0) throw new Problem(`${name} does not compile`, compiled.stdout.trim())
}

/** @param {string} name of a package @param {string} stage */
async function copyTexts(name, stage) {
  await fs.copy(path.join(folders[name], 'README.md'), path.join(stage, 'README.md'))
  for (const text of ['LICENSE', 'CHANGELOG.md']) await fs.copy(text, path.join(stage, text))
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
  const manifest = await readManifest(rootPackage)
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
  await writeManifest(stage, folders[rootPackage], {
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

/** @param {string} stage @param {string} directory of its sources @param {object} manifest */
async function writeManifest(stage, directory, manifest) {
  // npm's provenance wants the repository that publishes.
  const { GITHUB_SERVER_URL = 'https://github.com', GITHUB_REPOSITORY } = process.env
  const repository = GITHUB_REPOSITORY && {
    repository: { type: 'git', url: `git+${GITHUB_SERVER_URL}/${GITHUB_REPOSITORY}.git`, directory },
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
