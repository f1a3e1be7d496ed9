// ComputeLibrary with this repository's patches: node tools/acl/main.mjs --help
import os from 'node:os'
import path from 'node:path'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { build } from './build.mjs'
import { info, toolchainsHere } from './info.mjs'
import { end, interruptedBy, stopCleanly } from './interrupt.mjs'
import { layoutOf } from './layout.mjs'
import { readLock } from './lock.mjs'
import { guardOutputStreams } from './output-streams.mjs'
import { messageOf, Problem } from './problem.mjs'
import { refresh } from './refresh.mjs'
import { readSeries } from './series.mjs'
import { sourceOf } from './sources/source.mjs'
import { alone } from './temporary.mjs'
import { cpus, glibcVersion, targets } from './toolchains.mjs'
import { prepareTree } from './tree.mjs'
import { verify, verifyCopies } from './verify.mjs'

const say = (text) => process.stderr.write(`${text}\n`)

function positiveInteger(text) {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError(`expected a number of 1 or more, received '${text}'`)
  return Number(text)
}

const environment = `
Environment:
  ACL_SOURCE  where the source comes from: a directory, a tarball, or "debian" for Debian's source package through apt;
              unset, the git tag of third_party/upstream.lock.json, in third_party/ComputeLibrary
  CC, CXX     the compilers, both or none, where a build is not by zig

Exit codes: 0 done; 1 an error; 2 a wrong command line; 3 a tool or the source cannot be had here`

const program = new Command('node tools/acl/main.mjs')
  .description("ComputeLibrary with this repository's patches: fetched, verified, patched, built.")
  .addHelpText('after', environment)
  .addOption(
    new Option('--root <directory>', 'the checkout').default(path.resolve(import.meta.dirname, '../..')).hideHelp(),
  )
  .configureHelp({ sortSubcommands: false })
  .exitOverride()

/** What every command starts from. */
async function start() {
  const layout = layoutOf(path.resolve(program.opts().root))
  return { layout, lock: await readLock(layout), named: process.env.ACL_SOURCE ?? '' }
}

const unlocked = () =>
  new Option('--allow-unlocked', 'accept a source that the lock does not know; build.json records it')

program
  .command('fetch')
  .description('gets the source, or verifies the one that is here; prints the digest of its files')
  .addOption(unlocked())
  .action(async ({ allowUnlocked }) => {
    const { layout, lock, named } = await start()
    const source = await sourceOf(layout, lock, { named, allowUnlocked, say })
    const from = source.commit ? `commit ${source.commit}` : `digest ${source.sha256 ?? source.digest}`
    say(`ComputeLibrary ${source.version} (${source.kind}, ${from}): ${layout.name(source.directory)}`)
    process.stdout.write(`${source.digest}\n`)
  })

program
  .command('patch')
  .description(
    'makes build/compute-library/edit/tree: the source with the series applied, to be edited and exported with refresh',
  )
  .option('--discard', 'drop changes in that tree that were not exported', false)
  .addOption(unlocked())
  .action(async ({ allowUnlocked, discard }) => {
    const { layout, lock, named } = await start()
    const series = await readSeries(layout)
    const source = await sourceOf(layout, lock, { named, allowUnlocked, say })
    await alone(path.join(layout.edit, '.lock'), 'patch', async () => {
      const tree = path.join(layout.edit, 'tree')
      await prepareTree(layout, tree, source, series, { say, edited: discard ? 'drop' : 'refuse' })
      say(`${layout.name(tree)}: ComputeLibrary ${source.version} with ${series.patches.length} patches`)
    })
  })

program
  .command('refresh')
  .description('writes the patches anew from an edited tree, and their copies of packages/kernels from there')
  .argument('[tree]', 'default: build/compute-library/edit/tree')
  .option('--into <patch>', 'the patch that takes files which are in none')
  .option('--copies', 'only the copies of packages/kernels; needs no tree and no source', false)
  .addOption(unlocked())
  .action(async (tree, { into, copies, allowUnlocked }) => {
    const { layout, lock, named } = await start()
    await refresh(layout, lock, { tree, into, copiesOnly: copies, named, allowUnlocked, say })
  })

program
  .command('verify')
  .description(
    'applies the series to every source at hand, exports it again, and compares the copies with packages/kernels',
  )
  .option('--copies', 'only the copies; needs no source', false)
  .addOption(unlocked())
  .action(async ({ copies, allowUnlocked }) => {
    const { layout, lock, named } = await start()
    if (!copies) return verify(layout, lock, { named, allowUnlocked, say })
    say(`${(await verifyCopies(layout)).copies.size} copies are what packages/kernels has`)
  })

program
  .command('build')
  .description(
    'fetches, patches and builds; installs include/, lib/ and build.json in build/compute-library/TARGET-CPU[-portable]',
  )
  .addOption(new Option('--target <name>', 'default: this machine, when it is one of them').choices(targets))
  .addOption(new Option('--cpu <name>', 'default: armv8.6-a, apple-m2').choices(Object.keys(cpus)))
  .option('--portable', `for Linux with glibc ${glibcVersion} or newer, with a C++ runtime inside: by zig`, false)
  .option('--full', 'every operator, not only what the engine uses', false)
  .option(
    '--validation',
    "also bin/arm_compute_validation: ComputeLibrary's own tests of Softmax and IndexSoftmax",
    false,
  )
  .option('--jobs <number>', 'compilers at a time', positiveInteger, os.availableParallelism())
  .addOption(unlocked())
  .action(async (options) => {
    const { layout, lock, named } = await start()
    await build(layout, lock, { ...options, named, say })
  })

program
  .command('info')
  .description('says as JSON what would be built here and with what, and what has been built')
  .option('--toolchains', 'only the programs found, which an up-to-date build depends on', false)
  .action(async ({ toolchains }) => {
    const { layout, lock } = await start()
    const facts = toolchains ? await toolchainsHere(layout) : await info(layout, lock)
    process.stdout.write(`${JSON.stringify(facts, null, 2)}\n`)
  })

stopCleanly()
guardOutputStreams()
try {
  await program.parseAsync()
} catch (error) {
  const signal = interruptedBy()
  if (signal) end(signal)
  // Of a wrong command line, help and version, Commander has said everything.
  if (error instanceof CommanderError) process.exitCode ||= error.exitCode === 0 ? 0 : 2
  else {
    say(messageOf(error))
    process.exitCode = error instanceof Problem ? error.exitCode : 1
  }
}
