import { buildVersion, macos } from '../../acl/inspect.mjs'
import { printable } from './bytes.mjs'

/** @typedef {import('./bytes.mjs').Bytes} Bytes */

export const commandTypes = {
  ...{ symbolTable: 0x02, installName: 0x0d, segment: 0x19, signature: 0x1d, runPath: 0x8000001c, buildVersion },
  ...{ dyldInfo: 0x22, dyldInfoOnly: 0x80000022, exportTrie: 0x80000033, chainedFixups: 0x80000034 },
}
/** LC_LOAD_DYLIB, and its weak, re-exported, lazy and upward kinds. */
export const loadingTypes = [0x0c, 0x80000018, 0x8000001f, 0x20, 0x80000023]

/** @type {Record<number, string>} */
const platformNames = { [macos]: 'macOS', 2: 'iOS', 3: 'tvOS', 4: 'watchOS', 6: 'Mac Catalyst', 7: 'iOS simulator' }
/** LC_VERSION_MIN_…, of the time before LC_BUILD_VERSION. @type {Record<number, string>} */
const minimumVersions = { 36: 'macOS', 37: 'iOS', 47: 'tvOS', 48: 'watchOS' }

/** @param {Bytes} header @param {Bytes} all */
export function readCommands(header, all) {
  const [count, size] = [header.u32(16), header.u32(20)]
  const table = all.part('load commands', 32, size)
  const commands = []
  let at = 0
  for (let i = 0; i < count; i += 1) {
    const [type, length] = [table.u32(at), table.u32(at + 4)]
    if (length < 8 || length % 8 !== 0) throw table.problem('a multiple of 8 bytes for a command', `${length}`)
    commands.push({ type, bytes: table.part(`load command ${i}`, at, length) })
    at += length
  }
  if (at !== size) throw table.problem(`${size} bytes of commands`, `${at}`)
  return commands
}

/** A name in a field of 16 bytes, which it may fill. @param {Bytes} bytes @param {number} at */
function nameIn(bytes, at) {
  const field = Buffer.from(Array.from({ length: 16 }, (_, i) => bytes.u8(at + i)))
  const end = field.indexOf(0)
  return printable(end < 0 ? field : field.subarray(0, end))
}

/** @param {Bytes} command @param {Bytes} all */
export function readSegment(command, all) {
  const [address, memorySize, offset, fileSize] = [24, 32, 40, 48].map((at) => command.u64(at))
  const [protection, count] = [command.u32(60), command.u32(64)]
  const sections = command.part('sections', 72, 80 * count)
  all.part('a segment', offset, fileSize)
  if (fileSize > memorySize) throw command.problem(`${fileSize} bytes of memory for a segment`, `${memorySize}`)
  return {
    name: nameIn(command, 8),
    ...{ address, offset, fileSize },
    ...{ writable: (protection & 2) !== 0, executable: (protection & 4) !== 0 },
    sections: Array.from({ length: count }, (_, i) => nameIn(sections, 80 * i)),
  }
}

/** @param {number} version */
function versionText(version) {
  const [major, minor, patch] = [version >>> 16, (version >>> 8) & 255, version & 255]
  return patch ? `${major}.${minor}.${patch}` : `${major}.${minor}`
}

/** What systems a binary is for, when a command says it. @param {{ type: number, bytes: Bytes }} command */
export function readPlatform({ type, bytes }) {
  const isBuildVersion = type === commandTypes.buildVersion
  if (!isBuildVersion && !minimumVersions[type]) return []
  const at = isBuildVersion ? 12 : 8
  const number = isBuildVersion ? bytes.u32(8) : undefined
  const name = number === undefined ? minimumVersions[type] : (platformNames[number] ?? `platform ${number}`)
  return [{ name, minimum: versionText(bytes.u32(at)), sdk: versionText(bytes.u32(at + 4)) }]
}
