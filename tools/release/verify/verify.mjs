import path from 'node:path'
import { $, fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'
import { benchPackage, platformPackage, platforms, rootPackage } from '../platforms.mjs'
import { verifyBenchmark } from './benchmark.mjs'
import { verifyInstallation } from './installation.mjs'
import { verifyLibrary } from './library.mjs'
import { readPackage } from './read-package.mjs'
import { verifyTypes } from './types.mjs'

/**
 * Uses what was packed as users will: npm packages installed and run, C++ tarballs unpacked, linked and run.
 * @param {object} options
 * @param {string} options.directory
 * @param {string[]} options.platforms
 * @param {(text: string) => void} options.say
 */
export async function verify({ directory, platforms: wanted, say }) {
  for (const platform of wanted)
    if (!platforms[platform])
      throw new Problem(`--platform: expected ${Object.keys(platforms).join(', ')}, received '${platform}'`)
  const { version } = await fs.readJson('packages/acl/package.json')
  const tarballs = await filesIn(path.join(directory, 'npm'), `-${version}.tgz`)
  const packages = new Map()
  for (const file of tarballs) packages.set((await readPackage(file)).name, file)
  const common = [rootPackage, benchPackage]
  const absent = [...common, ...wanted.map(platformPackage)].filter((name) => !packages.has(name))
  if (absent.length) throw new Problem(`nothing to verify: ${absent.join(', ')} not packed`, 'pack makes them')
  for (const name of common) await lint(packages.get(name))
  say(`publint found nothing in ${common.join(', ')}`)
  await verifyTypes(packages.get(rootPackage), say)
  const archives = (await filesIn(path.join(directory, 'assets'), '.tar.gz')).filter((file) =>
    path.basename(file).startsWith(`intattn-acl-v${version}-`),
  )
  for (const platform of wanted) {
    await verifyInstallation({ platform, tarballs, say })
    // TypeScript alone: one platform stands for all.
    if (platform === `${process.platform}-${process.arch}`) await verifyBenchmark({ platform, tarballs, say })
    const own = archives.filter((file) => path.basename(file).includes(`-${platform}-`))
    if (own.length === 0) throw new Problem(`nothing to verify: no tarball for ${platform}`, 'pack makes it')
    for (const archive of own) await verifyLibrary({ archive, say })
  }
}

/** @param {string} directory @param {string} ending */
async function filesIn(directory, ending) {
  const names = await fs.readdir(directory).catch(() => [])
  return names.filter((name) => name.endsWith(ending)).map((name) => path.resolve(directory, name))
}

/** That Node.js and bundlers find what package.json says is there. @param {string} tarball */
async function lint(tarball) {
  const linted = await $({ nothrow: true, quiet: true })`npx publint ${tarball} --strict`
  if (linted.exitCode !== 0)
    throw new Problem(`publint found something in ${path.basename(tarball)}`, linted.text().trim())
}
