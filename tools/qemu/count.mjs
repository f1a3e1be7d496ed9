// Counts executed arm64 instructions: node tools/qemu/count.mjs --help
import path from 'node:path'
import { fs } from 'zx'
import { presetsOf, readArguments } from './arguments.mjs'
import { buildAll, defaultBuild } from './build.mjs'
import { cpus } from './cpu.mjs'
import { record } from './expected.mjs'
import { formatHot } from './hot.mjs'
import { formatCounts, label, notes, withRatios } from './report.mjs'
import { capabilities, countContender, nameOf } from './run.mjs'
import { defaultComputeLibrary, findToolchain, isComputeLibrary, missingComputeLibrary } from './toolchain.mjs'

const options = readArguments(process.argv.slice(2))
try {
  await main()
} catch (error) {
  console.error(error.message)
  process.exit(1)
}

async function main() {
  const toolchain = await findToolchain(options.compiler)
  if (toolchain.missing.length) throw new Error(toolchain.missing.join('\n'))
  const build = options.build ? path.resolve(options.build) : defaultBuild
  const withAcl = options.engine.includes('acl')
  const library = withAcl ? computeLibrary() : undefined
  const { plugin, program } = await buildAll(toolchain, library, build)
  if (options.record) {
    console.log(`recorded ${await record(toolchain, { plugin, program })}`)
    return
  }
  const contenders = contendersOf(await capabilities(program, options.cpu))

  const { L, queries, d, heads, causal, inputType, cpu } = options
  const problem = { L, queries, d, heads, causal, inputType }
  const counted = []
  for (const contender of contenders) {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${nameOf(contender)}`)
    counted.push(await countContender({ plugin, program, cpu, contender, problem, blocks: options.hot !== undefined }))
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')

  const tables = L.map((_, i) =>
    withRatios(
      counted.map((lengths) => lengths[i]),
      options.baseline,
    ),
  )
  const machine = { cpu, emulated: cpus[cpu].qemu, qemu: toolchain.qemu.version, compiler: toolchain.compiler.version }
  const header = `${label}; qemu-aarch64 ${machine.qemu} -cpu ${machine.emulated}; clang ${machine.compiler}\n`
  const rows = tables.flat().map(({ blocks, ...row }) => row)
  const json = `${JSON.stringify({ label, ...machine, rows }, null, 2)}\n`
  if (options.json === '-') {
    process.stdout.write(json)
    return
  }
  console.log([header, ...tables.map(formatCounts), ...notes].join('\n'))
  if (options.hot !== undefined) {
    if (!toolchain.objdump) throw new Error('missing: llvm-objdump\n  get it: apt install llvm-19')
    for (const row of tables.flat()) {
      console.log(`\n${nameOf(row)}, L ${row.L}\n`)
      console.log(await formatHot(toolchain.objdump.program, program, row, options.hot))
    }
  }
  if (options.json !== undefined) await fs.writeFile(options.json, json)
}

function computeLibrary() {
  const prefix = options.computeLibrary ?? defaultComputeLibrary
  if (!isComputeLibrary(prefix)) throw new Error(missingComputeLibrary(prefix))
  const { requiredFeatures = [] } = fs.readJsonSync(path.join(prefix, 'build.json'))
  const lacking = requiredFeatures.filter((feature) => cpus[options.cpu].without.includes(feature))
  if (lacking.length)
    throw new Error(`--cpu: expected one with ${lacking.join(', ')}, for this ComputeLibrary, received ${options.cpu}`)
  return prefix
}

function contendersOf({ engines, instructionSets, features }) {
  const here = instructionSets.filter(({ available }) => available).map(({ name }) => name)
  const asked = options.isa?.includes('all') ? here : (options.isa ?? [here.at(-1)])
  for (const name of asked)
    if (!here.includes(name))
      throw new Error(
        `--isa: expected one of ${here.join(', ')} on ${options.cpu} (${features.join(', ')}), received '${name}'`,
      )
  for (const engine of options.engine)
    if (!engines.includes(engine))
      throw new Error(`--engine: expected one of ${engines.join(', ')}, received '${engine}'`)

  const contenders = []
  for (const engine of options.engine)
    for (const isa of engine === 'native' ? asked : [undefined])
      for (const pipeline of options.pipelines)
        for (const preset of presetsOf(engine, pipeline, options.preset))
          contenders.push({ engine, isa, pipeline, preset })
  if (!contenders.length) throw new Error('--preset: expected one that an engine has for a pipeline; see --help')
  return contenders
}
