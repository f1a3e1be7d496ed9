// What users download: node tools/release/main.mjs --help
import path from 'node:path'
import { Command, CommanderError, Option } from 'commander'
import { fs } from 'zx'
import { guardOutputStreams } from '../acl/output-streams.mjs'
import { messageOf, Problem } from '../acl/problem.mjs'
import { checkAddons } from './pack/addons.mjs'
import { collect } from './pack/collect.mjs'
import { pack } from './pack/pack.mjs'
import { packedHere, platforms, rootPackage, runHere } from './platforms.mjs'
import { publish } from './publish/publish.mjs'
import { verify } from './verify/verify.mjs'

process.chdir(path.resolve(import.meta.dirname, '../..'))
const say = (text) => process.stderr.write(`${text}\n`)
const list = (text) => text.split(',').filter(Boolean)
const directory = new Option('--directory <directory>', 'where everything is put').default('build/release')

const program = new Command('node tools/release/main.mjs')
  .description('What users download: npm packages and C++ tarballs, packed, verified, published.')
  .configureHelp({ sortSubcommands: false })
  .exitOverride()

const platformList = (what, can) =>
  new Option('--platform <list>', `of ${Object.keys(platforms).join(', ')}; default: what can be ${what} here`)
    .argParser(list)
    .default(can, can.join(','))

program
  .command('pack')
  .description('builds and packs the npm packages and the C++ tarballs')
  .addOption(platformList('packed', packedHere))
  .option(
    '--cpu <list>',
    'only these of the CPUs that ComputeLibrary is compiled for: for a trial, not for a release',
    list,
  )
  .option('--no-root', `without ${rootPackage} itself, which one machine packs for all`)
  .addOption(directory)
  .action(({ platform, cpu, root, directory }) => pack({ platforms: platform, cpus: cpu, root, directory, say }))

program
  .command('collect')
  .description('lists parts that were packed on several machines and put together; fails when one is missing')
  .addOption(directory)
  .action(async ({ directory }) => {
    const { version } = await fs.readJson('packages/acl/package.json')
    const missing = await collect({ directory, version, say })
    if (missing.length) throw new Problem('no release', ...missing.map((file) => `missing: ${file}`))
  })

program
  .command('check')
  .description('inspects addons: what they run on, what they need, what they export, whether their signature is valid')
  .argument('<folder>', 'with addons.json')
  .action(async (folder) => {
    await checkAddons(folder, say)
  })

program
  .command('verify')
  .description('installs and runs what pack left, as users will: npm packages in an empty project, the C++ example')
  .addOption(platformList('run', runHere))
  .addOption(directory)
  .action(({ platform, directory }) => verify({ directory, platforms: platform, say }))

program
  .command('publish')
  .description('publishes what pack left: a GitHub release, then the npm packages')
  .option('--no-dry-run', 'do it; without, everything is read and compared, and nothing changed')
  .option('--repository <owner/name>', 'default: GITHUB_REPOSITORY')
  .option('--no-provenance', 'where npm does not know the machine')
  .addOption(directory)
  .action((options) => publish({ ...options, changelog: 'CHANGELOG.md', say }))

guardOutputStreams()
try {
  await program.parseAsync()
} catch (error) {
  // Of a wrong command line, help and version, Commander has said everything.
  if (error instanceof CommanderError) process.exitCode ||= error.exitCode === 0 ? 0 : 2
  else {
    say(messageOf(error))
    process.exitCode = error instanceof Problem ? error.exitCode : 1
  }
}
