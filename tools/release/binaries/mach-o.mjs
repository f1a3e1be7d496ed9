import { machines } from '../../acl/inspect.mjs'
import { Bytes } from './bytes.mjs'
import { describeFormat } from './format.mjs'
import { commandTypes, loadingTypes, readCommands, readPlatform, readSegment } from './mach-o-commands.mjs'
import { readExportTrie } from './mach-o-exports.mjs'
import { Bindings, ordinals, readBindOpcodes, readChainedImports } from './mach-o-imports.mjs'
import { readSignature } from './mach-o-signature.mjs'
import { readSymbolTable } from './mach-o-symbols.mjs'

const magic = 0xfeedfacf
const x64 = 0x01000007
/** Pointers of this kind of arm64 are signed: Apple's own programs only. */
const arm64e = 2
/** @type {Record<number, string>} */
const typeNames = { 1: 'an object file', 2: 'an executable', 6: 'a dynamic library', 8: 'a bundle' }
const loadable = [6, 8]
const twoLevelNamespace = 0x80

/** @param {Bytes} header */
function cpuOf(header) {
  const [type, subtype] = [header.u32(4), header.u32(8) & 0xffffff]
  if (type === machines.machO) return subtype === arm64e ? 'arm64e' : 'arm64'
  return type === x64 ? 'x64' : `CPU type ${type}`
}

/** @param {string[]} libraries @param {Bytes} header */
const originOf = (libraries, header) => {
  const special = {
    [ordinals.self]: 'itself',
    [ordinals.executable]: 'the executable',
    [ordinals.dynamicLookup]: 'dynamic lookup',
    [ordinals.weakLookup]: 'weak lookup',
  }
  /** @param {{ name: string, ordinal: number }} binding */
  return ({ name, ordinal }) => {
    const from = special[ordinal] ?? libraries[ordinal - 1]
    if (from === undefined) throw header.problem(`${name} from one of ${libraries.length} libraries`, `${ordinal}`)
    return { name, from }
  }
}

/**
 * Reads a dynamic library or a bundle for one 64-bit CPU.
 * @param {string} file for messages
 * @param {Buffer} content
 */
export function readMachO(file, content) {
  const all = new Bytes(file, content)
  if (content.length < 4 || content.readUInt32LE(0) !== magic)
    throw all.problem('a Mach-O file of 64 bits for one CPU', describeFormat(content))
  const header = all.part('Mach-O header', 0, 32)
  const type = header.u32(12)
  if (!loadable.includes(type)) throw header.problem('a dynamic library or a bundle', typeNames[type] ?? `type ${type}`)

  const commands = readCommands(header, all)
  /** @param {number[]} types */
  const each = (...types) => commands.filter((one) => types.includes(one.type)).map(({ bytes }) => bytes)
  /** @param {string} what @param {number[]} types @returns {Bytes | undefined} */
  const one = (what, ...types) => {
    const found = each(...types)
    if (found.length > 1) throw header.problem(`${what} once`, `${found.length} times`)
    return found[0]
  }
  /** What a command has place and size of. @param {string} name @param {Bytes | undefined} command @param {number} at in the command */
  const data = (name, command, at = 8) =>
    command ? all.part(name, command.u32(at), command.u32(at + 4)) : all.part(name, 0, 0)

  const segments = each(commandTypes.segment).map((command) => readSegment(command, all))
  const libraries = each(...loadingTypes).map((command) => command.text(command.u32(8)))
  const installName = one('the install name', commandTypes.installName)

  const table = one('the symbol table', commandTypes.symbolTable)
  const symbols = readSymbolTable(
    all.part('symbol table', table?.u32(8) ?? 0, 16 * (table?.u32(12) ?? 0)),
    data('names of symbols', table, 16),
    (header.u32(24) & twoLevelNamespace) !== 0,
  )
  const info = one('information for dyld', commandTypes.dyldInfo, commandTypes.dyldInfoOnly)
  const trie = one('the export trie', commandTypes.exportTrie)
  const chained = one('chained fixups', commandTypes.chainedFixups)
  const bound = new Bindings()
  if (info) {
    readBindOpcodes(data('bindings', info, 16), 'bind', bound)
    readBindOpcodes(data('weak bindings', info, 24), 'weak', bound)
    readBindOpcodes(data('lazy bindings', info, 32), 'lazy', bound)
  }
  if (chained) readChainedImports(data('chained fixups', chained), bound)
  // What dyld is told counts: some linkers leave no library in the symbol table.
  const unbound = symbols.bindings.filter(({ name }) => !bound.has(name))
  const signature = one('a code signature', commandTypes.signature)

  return {
    cpu: cpuOf(header),
    type: typeNames[type],
    platforms: commands.flatMap(readPlatform),
    libraries,
    installName: installName?.text(installName.u32(8)),
    runPaths: each(commandTypes.runPath).map((command) => command.text(command.u32(8))),
    exports: [
      ...new Set([
        ...readExportTrie(data('exports', info, 40)),
        ...readExportTrie(data('export trie', trie)),
        ...symbols.exports,
      ]),
    ],
    imports: [...bound.all, ...unbound].map(originOf(libraries, header)),
    ...{ localSymbols: symbols.localSymbols, debugSymbols: symbols.debugSymbols },
    debugSections: segments.flatMap((one) =>
      one.sections.filter((section) => one.name === '__DWARF' || section.startsWith('__debug_')),
    ),
    segments,
    signature: signature && readSignature(all, signature.u32(8), signature.u32(12)),
  }
}

/** @typedef {ReturnType<typeof readMachO>} MachO */
