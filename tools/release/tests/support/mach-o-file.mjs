import { createHash } from 'node:crypto'
import { big, Layout, little, Names } from './binaries-layout.mjs'

export const arm64 = 0x0100000c
export const system = '/usr/lib/libSystem.B.dylib'
/** Where a symbol comes from that is in no library. */
export const from = { self: 0, executable: -1, dynamicLookup: -2, weakLookup: -3 }
export const commandTypes = { library: 0x0c, weakLibrary: 0x80000018, versionMinimum: 0x24, build: 0x32 }
const page = 0x4000

const good = {
  cpu: arm64,
  subtype: 0,
  fileType: 6,
  flags: 0x85,
  /** @type {[type: number, ...fields: number[]][]} */
  platforms: [[commandTypes.build, 1, 0x0b0000, 0x0c0301, 0]],
  libraries: [{ type: commandTypes.library, name: system }],
  /** @type {string | null} */
  installName: '@rpath/intattn.node',
  /** @type {string[]} */
  runPaths: [],
  exports: ['_napi_register_module_v1', '_node_api_module_get_api_version_v1'],
  imports: [
    { name: '_napi_create_double', ordinal: from.dynamicLookup },
    { name: '_malloc', ordinal: 1 },
    { name: '_free', ordinal: 1 },
  ],
  /** @type {'opcodes' | 'chained' | 'symbols'} */
  binding: 'opcodes',
  chainedFormat: 1,
  /** What the symbol table says, where it is not as above. @type {{ name: string, ordinal: number }[] | null} */
  undefinedSymbols: null,
  /** @type {[type: number, name: string][]} */
  moreSymbols: [],
  /** @type {Buffer | null} in place of the one that fits */
  trie: null,
  /** @type {Buffer | null} in place of those that fit */
  opcodes: null,
  /** @type {[name: string, protection: number, sections: string[]][]} */
  moreSegments: [],
  /** @type {Buffer[]} */
  moreCommands: [],
  code: 'code',
  codeOffset: 0x3000,
  /** @type {Partial<typeof goodSignature> | null} */
  signature: {},
}

const goodSignature = {
  /** @type {(1 | 2 | 3 | 4)[]} one code directory each */
  hashTypes: [2],
  flags: 0x20002,
  pageShift: 12,
  identifier: 'intattn.node',
  /** What of the code is not signed, in bytes. */
  left: 0,
  /** @type {Record<number, Buffer>} other parts, by their slots */
  slots: {},
  specialSlots: 2,
  version: 0x20400,
}

const uleb = (value) => (value < 128 ? [value] : [(value % 128) + 128, ...uleb(Math.floor(value / 128))])

/** One edge for each name: no two of them begin alike, but for the underscore. @param {string[]} names */
function exportTrie(names) {
  const node = Buffer.from([...uleb(3), 0, ...uleb(0x3000), 0])
  const edges = names.map((name) => Buffer.from(`${name}\0`, 'latin1'))
  const root = 2 + edges.reduce((sum, edge) => sum + edge.length + 2, 0)
  return Buffer.concat([
    Buffer.from([0, names.length]),
    ...edges.flatMap((edge, i) => {
      const place = root + i * node.length
      return [edge, Buffer.from([(place % 128) + 128, Math.floor(place / 128)])]
    }),
    ...names.map(() => node),
  ])
}

/** @param {{ name: string, ordinal: number }[]} imports */
const bindOpcodes = (imports) =>
  Buffer.concat(
    imports.map(({ name, ordinal }) => {
      const library =
        ordinal <= 0 ? [0x30 + (ordinal & 15)] : ordinal < 16 ? [0x10 + ordinal] : [0x20, ...uleb(ordinal)]
      return Buffer.from([...library, 0x40, ...Buffer.from(name, 'latin1'), 0, 0x51, 0x70, 0, 0x90])
    }),
  )

function chainedFixups(imports, format) {
  const names = new Names()
  const table = imports.map(({ name, ordinal }) => {
    const at = names.add(name)
    if (format === 3) return little([2, ordinal], [2, 0], [4, at], [8, 0])
    return little([4, (ordinal & 255) + at * 512], ...(format === 2 ? [[4, 0]] : []))
  })
  const entries = Buffer.concat(table)
  return Buffer.concat([
    little([4, 0], [4, 32], [4, 32], [4, 32 + entries.length], [4, imports.length], [4, format], [4, 0], [4, 0]),
    entries,
    names.content,
  ])
}

const algorithms = { 1: ['sha1', 20], 2: ['sha256', 32], 3: ['sha256', 20], 4: ['sha384', 48] }

/** @param {Buffer} code what is signed @param {Partial<typeof goodSignature>} changes to a good signature */
export function signatureOf(code, changes = {}) {
  const made = { ...goodSignature, ...changes }
  const limit = code.length - made.left
  const blobs = Object.entries({ 2: Buffer.concat([big(0xfade0c01, 12), big(0)]), ...made.slots }).map(
    ([slot, blob]) => ({
      slot: Number(slot),
      blob,
    }),
  )
  const directories = made.hashTypes.map((type, i) => {
    const [algorithm, size] = algorithms[type]
    const digest = (bytes) => createHash(algorithm).update(bytes).digest().subarray(0, size)
    const pageSize = made.pageShift ? 2 ** made.pageShift : limit
    const pages = Array.from({ length: Math.ceil(limit / pageSize) }, (_, page) =>
      digest(code.subarray(page * pageSize, Math.min(limit, (page + 1) * pageSize))),
    )
    const special = Array.from({ length: made.specialSlots }, (_, k) => {
      const blob = blobs.find(({ slot }) => slot === made.specialSlots - k)?.blob
      return blob ? digest(blob) : Buffer.alloc(size)
    })
    const identifier = Buffer.from(`${made.identifier}\0`)
    const hashesAt = 88 + identifier.length + special.length * size
    const body = Buffer.concat([
      big(made.version, made.flags, hashesAt, 88, special.length, pages.length, limit),
      Buffer.from([size, type, 0, made.pageShift]),
      Buffer.alloc(88 - 40),
      identifier,
      ...special,
      ...pages,
    ])
    return { slot: i === 0 ? 0 : 0x1000 + i - 1, blob: Buffer.concat([big(0xfade0c02, body.length + 8), body]) }
  })
  const parts = [...directories, ...blobs]
  let place = 12 + 8 * parts.length
  const index = parts.map(({ slot, blob }) => {
    place += blob.length
    return big(slot, place - blob.length)
  })
  return Buffer.concat([big(0xfade0cc0, place, parts.length), ...index, ...parts.map(({ blob }) => blob)])
}

/** A load command with a name behind its fields. */
function named(type, fields, name) {
  const text = Buffer.from(`${name}\0`, 'latin1')
  const length = (12 + 4 * fields.length + text.length + 7) & ~7
  const start = little([4, type], [4, length], [4, 12 + 4 * fields.length], ...fields.map((value) => [4, value]))
  return Buffer.concat([start, text], length)
}

const segment = (name, address, size, offset, fileSize, protection, sections = []) =>
  Buffer.concat([
    little([4, 0x19], [4, 72 + 80 * sections.length]),
    Buffer.from(name.padEnd(16, '\0'), 'latin1'),
    little([8, address], [8, size], [8, offset], [8, fileSize], [4, protection], [4, protection]),
    little([4, sections.length], [4, 0]),
    ...sections.map((section) => Buffer.concat([Buffer.from(section.padEnd(16, '\0') + name, 'latin1')], 80)),
  ])

/**
 * An addon for macOS, as small as it can be, with everything that is looked at.
 * @param {Partial<typeof good>} changes to a good one
 */
export function machOFile(changes = {}) {
  const made = { ...good, ...changes }
  const layout = new Layout()
  layout.add('first page', page)
  const names = new Names()
  const undefinedSymbols = made.undefinedSymbols ?? made.imports
  const symbols = [
    ...made.moreSymbols.map(([type, name]) => little([4, names.add(name)], [1, type], [1, 1], [2, 0], [8, 0x3000])),
    ...made.exports.map((name) => little([4, names.add(name)], [1, 0x0f], [1, 1], [2, 0], [8, 0x3000])),
    ...undefinedSymbols.map(({ name, ordinal }) =>
      little([4, names.add(name)], [1, 1], [1, 0], [2, (ordinal & 255) << 8], [8, 0]),
    ),
  ]
  const fixups = made.opcodes ?? bindOpcodes(made.imports.filter(({ ordinal }) => ordinal !== from.weakLookup))
  const weak = bindOpcodes(made.imports.filter(({ ordinal }) => ordinal === from.weakLookup))
  // One lazy binding: its end is not that of the table.
  const lazy = made.binding === 'opcodes' && !made.opcodes ? Buffer.concat([Buffer.alloc(1), fixups]) : Buffer.alloc(0)
  const parts = {
    bindings: made.binding === 'opcodes' ? fixups : Buffer.alloc(0),
    weak: made.binding === 'opcodes' ? weak : Buffer.alloc(0),
    lazy,
    chained: made.binding === 'chained' ? chainedFixups(made.imports, made.chainedFormat) : Buffer.alloc(0),
    trie: made.trie ?? exportTrie(made.exports),
    symbols: Buffer.concat(symbols),
    names: names.content,
  }
  for (const [name, part] of Object.entries(parts)) layout.add(name, part)
  const { at } = layout
  layout.add('signature', 0, 16)
  const codeEnd = layout.length
  const data = (name) => [at[name], parts[name].length]
  // As long as it will be: what is signed does not matter for that.
  const signatureLength = made.signature ? signatureOf(Buffer.alloc(codeEnd), made.signature).length : 0
  const linkEdit = codeEnd + signatureLength - page

  const commands = [
    segment('__TEXT', 0, page, 0, page, 5, ['__text']),
    ...made.moreSegments.map(([name, protection, sections], i) =>
      segment(name, (i + 1) * page, page, 0, 0, protection, sections),
    ),
    segment('__LINKEDIT', (made.moreSegments.length + 1) * page, linkEdit, page, linkEdit, 1),
    ...(made.installName === null ? [] : [named(0x0d, [2, 0x10000, 0x10000], made.installName)]),
    ...made.libraries.map(({ type, name }) => named(type, [2, 0x10000, 0x10000], name)),
    ...made.runPaths.map((runPath) => named(0x8000001c, [], runPath)),
    ...made.platforms.map(([type, ...fields]) =>
      little([4, type], [4, 8 + 4 * fields.length], ...fields.map((field) => [4, field])),
    ),
    ...(made.binding === 'opcodes'
      ? [
          little(
            ...[0x80000022, 48, 0, 0, ...data('bindings'), ...data('weak'), ...data('lazy'), ...data('trie')].map(
              (one) => [4, one],
            ),
          ),
        ]
      : [little(...[0x80000033, 16, ...data('trie')].map((one) => [4, one]))]),
    ...(made.binding === 'chained' ? [little(...[0x80000034, 16, ...data('chained')].map((one) => [4, one]))] : []),
    little(...[0x02, 24, at.symbols, symbols.length, ...data('names')].map((one) => [4, one])),
    ...made.moreCommands,
    ...(made.signature ? [little(...[0x1d, 16, codeEnd, signatureLength].map((one) => [4, one]))] : []),
  ]
  const size = commands.reduce((sum, { length }) => sum + length, 0)
  const header = [0xfeedfacf, made.cpu, made.subtype, made.fileType, commands.length, size, made.flags, 0]
  const { content } = layout
  Buffer.concat([little(...header.map((one) => [4, one])), ...commands]).copy(content)
  Buffer.from(made.code, 'latin1').copy(content, made.codeOffset)
  return {
    content: made.signature ? Buffer.concat([content, signatureOf(content, made.signature)]) : content,
    at: { ...at, commands: 32, code: made.codeOffset },
  }
}
