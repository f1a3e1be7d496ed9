import { readFile } from 'node:fs/promises'
import { $ } from 'zx/core'

/** Names of /proc/cpuinfo to those of macOS. @type {Record<string, string>} */
const macosNames = { asimdhp: 'FP16', asimddp: 'DotProd', asimdfhm: 'FHM', i8mm: 'I8MM', bf16: 'BF16', sme: 'SME' }

/**
 * Which features Linux does not list.
 * @param {string} cpuinfo content of /proc/cpuinfo
 * @param {string[]} required
 */
export function absentIn(cpuinfo, required) {
  const listed = cpuinfo
    .match(/^Features\s*:(.*)$/m)?.[1]
    .trim()
    .split(/\s+/)
  return listed ? required.filter((name) => !listed.includes(name)) : []
}

/** What macOS says of a feature: '1', '0', or nothing. @param {string} name */
async function macosWord(name) {
  const { exitCode, stdout } = await $({
    nothrow: true,
    quiet: true,
  })`sysctl -n ${`hw.optional.arm.FEAT_${macosNames[name]}`}`
  return exitCode === 0 ? stdout.trim() : ''
}

/**
 * Which of the features that a build needs this machine's CPU lacks, as far as the system says it.
 * @param {string[]} required
 */
export async function lackingHere(required) {
  if (process.platform === 'linux') return absentIn(await readFile('/proc/cpuinfo', 'utf8').catch(() => ''), required)
  const lacking = []
  for (const name of required.filter((name) => macosNames[name]))
    if ((await macosWord(name)) === '0') lacking.push(name)
  return lacking
}

/**
 * Whether the system says that this machine's CPU has features.
 * @param {string[]} features as /proc/cpuinfo names them, with or without underscores
 */
export async function hasHere(features) {
  if (process.platform === 'linux') {
    const plain = (name) => name.replaceAll('_', '')
    const cpuinfo = await readFile('/proc/cpuinfo', 'latin1').catch(() => '')
    const present = /^(?:flags|Features)\s*:(.*)$/m.exec(cpuinfo)?.[1].trim().split(/\s+/).map(plain)
    return features.every((name) => present?.includes(plain(name)))
  }
  for (const name of features.filter((name) => name !== 'asimd'))
    if (!macosNames[name] || (await macosWord(name)) !== '1') return false
  return process.arch === 'arm64'
}
