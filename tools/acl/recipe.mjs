import { reproducible } from './compilers.mjs'
import { digestOf } from './digest.mjs'
import { cpus, operators, sconsOptions, tailoring } from './toolchains.mjs'

/**
 * What a build depends on, without places: equal wherever the same would be made.
 * @param {object} options
 * @param {import('./sources/record.mjs').Source} options.source
 * @param {import('./series.mjs').Series} options.series
 * @param {string} options.target
 * @param {string} options.cpu
 * @param {boolean} options.full every operator
 * @param {import('./preflight.mjs').FoundToolchain} options.found
 */
export function recipeOf({ source, series, target, cpu, full, found }) {
  const { toolchain, compiler } = found
  const { arch, tuning, requiredFeatures } = cpus[cpu]
  const { directory, ...facts } = source
  const { cc, cxx, version } = compiler
  const scons = Object.entries({ ...toolchain.scons, arch, ...sconsOptions }).map(([name, value]) => `${name}=${value}`)
  const facets = full ? { operators: 'all' } : { operators, ...tailoring }
  const recipe = {
    version: source.version,
    source: facts,
    series: series.digest,
    target,
    cpu,
    requiredFeatures,
    compiler: version,
    command: { cc, cxx },
    environment: reproducible,
    flags: { compiler: toolchain.flags, tuning: ['-O3', tuning[toolchain.dialect]], scons },
    ...facets,
  }
  return { ...recipe, key: digestOf(JSON.stringify(recipe)) }
}

/** @typedef {ReturnType<typeof recipeOf>} Recipe */

/**
 * The options of scons for a recipe.
 * @param {Recipe} recipe
 */
export function sconsArguments({ flags, operators: chosen }) {
  const args = [...flags.scons]
  const { dataTypes, dataLayouts } = tailoring
  if (chosen !== 'all')
    args.push(`build_config=${JSON.stringify({ operators, data_types: dataTypes, data_layouts: dataLayouts })}`)
  return args
}
