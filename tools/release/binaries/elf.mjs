import { machines } from '../../acl/inspect.mjs'
import { Bytes } from './bytes.mjs'
import { readDynamic } from './elf-dynamic.mjs'
import { Image } from './elf-image.mjs'
import { describeFormat } from './format.mjs'

/** @type {Record<number, string>} */
const machineNames = { 62: 'x64', [machines.elf]: 'arm64' }
/** @type {Record<number, string>} */
const typeNames = { 1: 'an object file', 2: 'an executable', 3: 'a shared object', 4: 'a core file' }
const sharedObject = 3

const segmentTypes = { load: 1, dynamic: 2, stack: 0x6474e551, relro: 0x6474e552 }
const mostSegments = 128
const flags = { execute: 1, write: 2 }
const sectionTypes = { none: 0, symbolTable: 2, noBits: 8 }

/** What 64-bit Linux on x64 and arm64 loads: little-endian, and of System V or GNU. @param {Bytes} identity */
function checkIdentity(identity) {
  const [bits, order, version, system] = [4, 5, 6, 7].map((at) => identity.u8(at))
  if (bits !== 2) throw identity.problem('64 bits (class 2)', `class ${bits}`)
  if (order !== 1) throw identity.problem('little-endian data (1)', `${order}`)
  if (version !== 1) throw identity.problem('version 1', `${version}`)
  if (system !== 0 && system !== 3) throw identity.problem('an ABI of Linux (0 or 3)', `${system}`)
}

/** @param {Bytes} header @param {Bytes} all */
function readSegments(header, all) {
  const [start, size, count] = [header.u64(32), header.u16(54), header.u16(56)]
  if (size !== 56) throw header.problem('program headers of 56 bytes', `${size}`)
  if (count > mostSegments) throw header.problem(`at most ${mostSegments} program headers`, `${count}`)
  const table = all.part('program headers', start, count * size)
  return Array.from({ length: count }, (_, i) => {
    const at = i * size
    const bits = table.u32(at + 4)
    return {
      type: table.u32(at),
      ...{ writable: (bits & flags.write) !== 0, executable: (bits & flags.execute) !== 0 },
      ...{ offset: table.u64(at + 8), address: table.u64(at + 16) },
      ...{ fileSize: table.u64(at + 32), memorySize: table.u64(at + 40), alignment: table.u64(at + 48) },
    }
  })
}

/**
 * The sections that are not loaded but tell about the code; none when the section headers are stripped.
 * @param {Bytes} header @param {Bytes} all
 */
function readSections(header, all) {
  const [start, size, count, namesAt] = [header.u64(40), header.u16(58), header.u16(60), header.u16(62)]
  if (start === 0 && count === 0) return { symbolTable: false, debugSections: [] }
  if (size !== 64) throw header.problem('section headers of 64 bytes', `${size}`)
  if (start === 0 || count === 0) throw header.problem('place and number of section headers', `${start} and ${count}`)
  if (namesAt >= count) throw header.problem(`the section of names to be one of ${count}`, `${namesAt}`)
  const table = all.part('section headers', start, count * size)
  const sections = Array.from({ length: count }, (_, i) => {
    const [type, offset, length] = [table.u32(i * size + 4), table.u64(i * size + 24), table.u64(i * size + 32)]
    const empty = type === sectionTypes.none || type === sectionTypes.noBits
    return { type, name: table.u32(i * size), bytes: all.part(`section ${i}`, empty ? 0 : offset, empty ? 0 : length) }
  })
  const names = namesAt === 0 ? [] : sections.map(({ name }) => sections[namesAt].bytes.text(name))
  return {
    symbolTable: sections.some(({ type }) => type === sectionTypes.symbolTable),
    debugSections: names.filter((name) => /^\.(z?debug_|gnu_debug|stab)/.test(name)),
  }
}

/**
 * Reads a shared object for Linux as its loader does: by program headers and the dynamic segment. Section headers, which may be
 * stripped, are asked only about what is not loaded.
 * @param {string} file for messages
 * @param {Buffer} content
 */
export function readElf(file, content) {
  const all = new Bytes(file, content)
  if (content.toString('latin1', 0, 4) !== '\x7fELF') throw all.problem('an ELF file', describeFormat(content))
  const header = all.part('ELF header', 0, 64)
  checkIdentity(header)
  const type = header.u16(16)
  if (type !== sharedObject) throw header.problem('a shared object', typeNames[type] ?? `type ${type}`)

  const segments = readSegments(header, all)
  const loaded = segments.filter((one) => one.type === segmentTypes.load)
  const dynamic = segments.filter((one) => one.type === segmentTypes.dynamic)
  if (dynamic.length !== 1) throw header.problem('one dynamic segment', `${dynamic.length}`)
  const { positionIndependentExecutable, ...linking } = readDynamic(new Image(all, loaded), dynamic[0])

  const stack = segments.find((one) => one.type === segmentTypes.stack)
  const relro = segments.some((one) => one.type === segmentTypes.relro)
  const machine = header.u16(18)
  return {
    machine: machineNames[machine] ?? `machine ${machine}`,
    type: positionIndependentExecutable ? typeNames[2] : typeNames[type],
    ...linking,
    ...readSections(header, all),
    // Without a word about its stack, the loader gives a binary an executable one.
    executableStack: stack?.executable ?? true,
    writableCode: loaded.some((one) => one.writable && one.executable),
    relro: relro ? (linking.bindNow ? 'full' : 'partial') : 'none',
    /** The largest pages of memory it can be loaded to, in bytes. */
    pageSize: Math.min(...loaded.map((one) => one.alignment)),
  }
}

/** @typedef {ReturnType<typeof readElf>} Elf */
