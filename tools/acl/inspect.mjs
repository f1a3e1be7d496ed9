import { membersOf } from './archive.mjs'
import { Problem } from './problem.mjs'

/** The numbers of arm64. */
export const machines = { elf: 183, machO: 0x0100000c }
/** Of the load command that says for which system a Mach-O file is. */
export const buildVersion = 0x32
/** A system's number in that. */
export const macos = 1

/**
 * What an object file is for.
 * @param {Buffer} content its beginning
 * @returns {{ format: string, machine: string, system?: { platform: number, major: number, minor: number } }} `system`: the
 *   oldest one, as Mach-O's LC_BUILD_VERSION says it
 */
export function kindOf(content) {
  if (content.length >= 20 && content.readUInt32BE(0) === 0x7f454c46) {
    const machine = content.readUInt16LE(18)
    return { format: 'ELF', machine: machine === machines.elf ? 'arm64' : `machine ${machine}` }
  }
  if (content.length < 32 || content.readUInt32LE(0) !== 0xfeedfacf) return { format: 'unknown', machine: 'unknown' }
  const type = content.readUInt32LE(4)
  const kind = { format: 'Mach-O', machine: type === machines.machO ? 'arm64' : `CPU type ${type}` }
  const commands = content.readUInt32LE(16)
  for (let i = 0, at = 32; i < commands && at + 16 <= content.length; i += 1) {
    if (content.readUInt32LE(at) === buildVersion) {
      const version = content.readUInt32LE(at + 12)
      const system = { platform: content.readUInt32LE(at + 8), major: version >>> 16, minor: (version >>> 8) & 255 }
      return { ...kind, system }
    }
    at += content.readUInt32LE(at + 4) || 8
  }
  return kind
}

/** @type {Record<string, string>} */
const expected = { 'linux-arm64': 'ELF', 'darwin-arm64': 'Mach-O' }

/**
 * Checks that every object of a library is for the target.
 * @param {string} file
 * @param {string} target
 * @param {string} macosVersion the newest that an object may ask for
 * @returns {Promise<number>} how many objects there are
 */
export async function checkLibrary(file, target, macosVersion) {
  const [major, minor] = macosVersion.split('.').map(Number)
  let count = 0
  for await (const { name, content } of membersOf(file)) {
    const { format, machine, system } = kindOf(content)
    if (format !== expected[target] || machine !== 'arm64')
      throw new Problem(`${file}: ${name}: expected ${expected[target]} for arm64, received ${format} for ${machine}`)
    if (system && system.platform !== macos)
      throw new Problem(`${file}: ${name}: expected macOS (platform ${macos}), received platform ${system.platform}`)
    if (system && (system.major > major || (system.major === major && system.minor > minor)))
      throw new Problem(
        `${file}: ${name}: expected macOS ${macosVersion} or older, received ${system.major}.${system.minor}`,
      )
    count += 1
  }
  if (count === 0) throw new Problem(`${file}: expected objects, received an empty library`)
  return count
}
