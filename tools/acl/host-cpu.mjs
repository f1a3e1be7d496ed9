import { readFile } from 'node:fs/promises'
import { $ } from 'zx/core'

/** Names of /proc/cpuinfo to those of macOS. @type {Record<string, string>} */
const macosNames = { asimdhp: 'FP16', asimddp: 'DotProd', asimdfhm: 'FHM', i8mm: 'I8MM', bf16: 'BF16' }

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

/**
 * Which of the features that a build needs this machine's CPU lacks, as far as the system says it.
 * @param {string[]} required
 */
export async function lackingHere(required) {
  if (process.platform === 'linux') return absentIn(await readFile('/proc/cpuinfo', 'utf8').catch(() => ''), required)
  const lacking = []
  for (const name of required.filter((name) => macosNames[name])) {
    const { exitCode, stdout } = await $({
      nothrow: true,
      quiet: true,
    })`sysctl -n ${`hw.optional.arm.FEAT_${macosNames[name]}`}`
    if (exitCode === 0 && stdout.trim() === '0') lacking.push(name)
  }
  return lacking
}
