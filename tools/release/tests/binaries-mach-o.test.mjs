import { describe, expect, it } from 'vitest'
import { readMachO } from '../binaries/mach-o.mjs'
import { expectBounds, expectFewReads, expectRobust, expectWhole } from './support/binaries-damage.mjs'
import { big, doctored, little } from './support/binaries-layout.mjs'
import { elfFile } from './support/elf-file.mjs'
import { arm64, commandTypes, from, machOFile, signatureOf, system } from './support/mach-o-file.mjs'

const read = (content) => readMachO('addon.node', content)
const facts = (changes) => read(machOFile(changes).content)
const all = little([8, -1])

/** Where a load command is. */
function command(content, type) {
  for (let at = 32; ; at += content.readUInt32LE(at + 4)) if (content.readUInt32LE(at) === type) return at
}
const inCommand = (content, type, offset, bytes) => doctored(content, command(content, type) + offset, bytes)

const imports = [
  { name: '_napi_create_double', from: 'dynamic lookup' },
  { name: '_malloc', from: system },
  { name: '_free', from: system },
]
const segment = { writable: false, executable: false, sections: [] }

describe('a dynamic library of macOS', () => {
  it('says what it is and what it needs', () => {
    const { content, at } = machOFile()
    expect(read(content)).toEqual({
      ...{ cpu: 'arm64', type: 'a dynamic library', installName: '@rpath/intattn.node', runPaths: [] },
      platforms: [{ name: 'macOS', minimum: '11.0', sdk: '12.3.1' }],
      libraries: [system],
      exports: ['_node_api_module_get_api_version_v1', '_napi_register_module_v1'],
      imports,
      ...{ localSymbols: 0, debugSymbols: 0, debugSections: [] },
      segments: [
        { ...segment, name: '__TEXT', address: 0, offset: 0, fileSize: 16384, executable: true, sections: ['__text'] },
        { ...segment, name: '__LINKEDIT', address: 16384, offset: 16384, fileSize: content.length - 16384 },
      ],
      signature: {
        ...{ offset: at.signature, size: content.length - at.signature, adHoc: true },
        directories: [
          {
            ...{ identifier: 'intattn.node', hash: 'SHA-256', adHoc: true, linkerSigned: true },
            ...{ codeLimit: at.signature, pages: 5, changedPages: [], changedSlots: [] },
          },
        ],
      },
    })
  })

  it.each([
    ['the CPU', { cpu: 0x01000007 }, { cpu: 'x64' }],
    ['a CPU with signed pointers', { subtype: 0x80000002 }, { cpu: 'arm64e' }],
    ['a CPU it has no name for', { cpu: 7 }, { cpu: 'CPU type 7' }],
    ['a bundle', { fileType: 8, installName: null }, { type: 'a bundle', installName: undefined }],
    [
      'the minimum of older linkers',
      { platforms: [[commandTypes.versionMinimum, 0x0a0f06, 0x0b0300]] },
      { platforms: [{ name: 'macOS', minimum: '10.15.6', sdk: '11.3' }] },
    ],
    [
      'iOS of older linkers',
      { platforms: [[0x25, 0x0e0000, 0x0e0000]] },
      { platforms: [{ name: 'iOS', minimum: '14.0' }] },
    ],
    [
      'iOS',
      { platforms: [[commandTypes.build, 2, 0x0e0000, 0, 0]] },
      { platforms: [{ name: 'iOS', minimum: '14.0' }] },
    ],
    [
      'a platform it has no name for',
      { platforms: [[commandTypes.build, 99, 0x010000, 0, 0]] },
      { platforms: [{ name: 'platform 99' }] },
    ],
    ['no platform', { platforms: [] }, { platforms: [] }],
    [
      'libraries of every kind',
      { libraries: [0x0c, 0x80000018, 0x8000001f, 0x20, 0x80000023].map((type) => ({ type, name: `lib${type}` })) },
      { libraries: ['lib12', 'lib2147483672', 'lib2147483679', 'lib32', 'lib2147483683'] },
    ],
    ['run paths', { runPaths: ['@loader_path', '/opt'] }, { runPaths: ['@loader_path', '/opt'] }],
    [
      'code that can be written to',
      { moreSegments: [['__JIT', 7, []]] },
      { segments: [{}, { name: '__JIT', writable: true, executable: true }, {}] },
    ],
    [
      'debug information',
      { moreSegments: [['__DWARF', 1, ['__debug_info', '__a_name_of_16_b']]] },
      { debugSections: ['__debug_info', '__a_name_of_16_b'] },
    ],
    [
      'debug symbols',
      {
        moreSymbols: [
          [0x64, '/home/me/a.cc'],
          [0x24, '_f'],
        ],
      },
      { debugSymbols: 2, localSymbols: 0 },
    ],
    [
      "Apple's mark of a stripped file, which is no debug symbol",
      { moreSymbols: [[0x3c, 'radr://5614542']] },
      { debugSymbols: 0, localSymbols: 0 },
    ],
    ['another symbol of that type, which is one', { moreSymbols: [[0x3c, 'other']] }, { debugSymbols: 1 }],
    [
      'local symbols, and those that are private outside',
      {
        moreSymbols: [
          [0x0e, '_local'],
          [0x1f, '_private'],
        ],
      },
      { localSymbols: 2, exports: { length: 2 } },
    ],
    [
      'exports that only the symbol table has',
      { moreSymbols: [[0x0f, '_third']] },
      { exports: expect.arrayContaining(['_third']) },
    ],
    [
      'exports that only the trie has',
      { trie: Buffer.from('\0\x01_other\0\x0a\x02\0\0\0') },
      { exports: ['_other', '_napi_register_module_v1', '_node_api_module_get_api_version_v1'] },
    ],
    [
      'exports of another library, and those that a function chooses',
      { trie: Buffer.from('\0\x02_a\0\x0a_b\0\x10\x04\x08\x01_\0\0\x03\x10\x01\x02\0', 'latin1') },
      { exports: expect.arrayContaining(['_a', '_b']) },
    ],
    ['no exports', { exports: [], trie: Buffer.alloc(0) }, { exports: [] }],
    ['no signature', { signature: null }, { signature: undefined }],
    [
      'names that are not text',
      { libraries: [{ type: 0x0c, name: 'lib\x1b[31m.dylib' }] },
      { libraries: ['lib\\x1b[31m.dylib'] },
    ],
  ])('says %s', (_, changes, expected) => {
    expect(facts(changes)).toMatchObject(expected)
  })

  it.each([
    ...[
      ['macOS', 0x24],
      ['iOS', 0x25],
      ['tvOS', 0x2f],
      ['watchOS', 0x30],
    ],
    ...[
      ['macOS', 0x32, 1],
      ['iOS', 0x32, 2],
      ['tvOS', 0x32, 3],
      ['watchOS', 0x32, 4],
    ],
    ...[
      ['Mac Catalyst', 0x32, 6],
      ['iOS simulator', 0x32, 7],
      ['platform 5', 0x32, 5],
    ],
  ])('says for which system it is: %s', (name, type, ...platform) => {
    expect(facts({ platforms: [[type, ...platform, 0x0b0000, 0x0c0000, ...platform]] }).platforms).toEqual([
      { name, minimum: '11.0', sdk: '12.0' },
    ])
  })

  it.each([
    ['chained fixups of format 1', { binding: 'chained', chainedFormat: 1 }],
    ['chained fixups of format 2', { binding: 'chained', chainedFormat: 2 }],
    ['chained fixups of format 3', { binding: 'chained', chainedFormat: 3 }],
    ['its symbol table alone', { binding: 'symbols' }],
    [
      'bindings, where the symbol table says otherwise',
      { undefinedSymbols: [{ name: '_napi_create_double', ordinal: 0 }] },
    ],
  ])('has what it needs from %s', (_, changes) => {
    expect(facts(changes).imports).toEqual(imports)
  })

  it.each(['opcodes', 'chained', 'symbols'])('knows where symbols come from, by %s', (binding) => {
    const libraries = Array.from({ length: 20 }, (_, i) => ({ type: commandTypes.library, name: `lib${i + 1}` }))
    const ordinals = Object.values({ ...from, one: 1, seventeen: 17 }).filter(
      (ordinal) => ordinal >= -2 || binding !== 'symbols',
    )
    const expected = {
      [-3]: 'weak lookup',
      [-2]: 'dynamic lookup',
      [-1]: 'the executable',
      0: 'itself',
      1: 'lib1',
      17: 'lib17',
    }
    const found = facts({
      libraries,
      binding,
      undefinedSymbols: binding === 'symbols' ? null : [],
      imports: ordinals.map((ordinal) => ({ name: `_s${ordinal}`, ordinal })),
    }).imports
    expect(Object.fromEntries(found.map((one) => [one.name, one.from]))).toEqual(
      Object.fromEntries(ordinals.map((ordinal) => [`_s${ordinal}`, expected[ordinal]])),
    )
  })

  it('knows symbols of the symbol table that nothing binds, and flat namespaces', () => {
    const undefinedSymbols = [{ name: '_other', ordinal: 1 }]
    expect(facts({ undefinedSymbols }).imports).toContainEqual({ name: '_other', from: system })
    expect(facts({ undefinedSymbols, flags: 0x05 }).imports).toContainEqual({ name: '_other', from: 'dynamic lookup' })
  })

  it('understands every opcode of bindings', () => {
    const opcodes = Buffer.concat([
      ...[
        Buffer.from([0x11, 0x40]),
        Buffer.from('_a\0'),
        Buffer.from([0x51, 0x60, 0xff, 0x7f, 0x71, 0x08, 0x80, 0x10, 0xa0, 0x08]),
      ],
      ...[Buffer.from([0x3e, 0x40]), Buffer.from('_b\0'), Buffer.from([0xb2, 0xc0, 0x80, 0x80, 0x04, 0x08])],
      ...[Buffer.from([0x20, 0x01, 0x41]), Buffer.from('_c\0'), Buffer.from([0x90, 0x00, 0xee, 0xee])],
    ])
    expect(facts({ opcodes, undefinedSymbols: [] }).imports).toEqual([
      { name: '_a', from: system },
      { name: '_b', from: 'dynamic lookup' },
      { name: '_c', from: system },
    ])
  })
})

describe('what is not a dynamic library of 64-bit macOS', () => {
  it.each([
    ['nothing', Buffer.alloc(0), 'expected a Mach-O file of 64 bits for one CPU, received another kind of file'],
    [
      'an ELF file',
      elfFile({ machine: 183 }).content,
      'expected a Mach-O file of 64 bits for one CPU, received ELF for arm64',
    ],
    [
      'a universal file',
      Buffer.concat([big(0xcafebabe, 1), machOFile().content]),
      'received a universal Mach-O file (lipo -thin arm64 takes one part out of it)',
    ],
    [
      'a universal file with large offsets',
      Buffer.concat([big(0xcafebabf, 1), machOFile().content]),
      'received a universal Mach-O file',
    ],
    [
      '32 bits',
      Buffer.concat([little([4, 0xfeedface]), Buffer.alloc(60)]),
      'expected a Mach-O file of 64 bits for one CPU, received another kind of file',
    ],
    [
      'an object file',
      machOFile({ fileType: 1 }).content,
      'expected a dynamic library or a bundle, received an object file',
    ],
    [
      'an executable',
      machOFile({ fileType: 2 }).content,
      'expected a dynamic library or a bundle, received an executable',
    ],
    ['another type', machOFile({ fileType: 10 }).content, 'expected a dynamic library or a bundle, received type 10'],
  ])('is refused: %s', (_, content, message) => {
    expect(() => read(content)).toThrow(message)
  })
})

describe('a damaged dynamic library', { timeout: 60_000 }, () => {
  const { content, at } = machOFile()
  const chained = machOFile({ binding: 'chained' })
  const trie = (bytes) => machOFile({ trie: Buffer.from(bytes, 'latin1') }).content
  const meaningful = (file) => [
    [0, 900],
    [16384, file.length],
  ]

  it('is refused wherever it is cut off', () => {
    expectWhole(readMachO, content)
  })

  it.each([
    ['too many commands', doctored(content, 16, all.subarray(0, 4)), 'load commands: expected'],
    [
      'commands beyond the file',
      doctored(content, 20, all.subarray(0, 4)),
      'load commands: expected 4294967295 bytes at 0x20',
    ],
    [
      'fewer commands than their size says',
      doctored(content, 16, little([4, 3])),
      /load commands: expected \d+ bytes of commands, received \d+/,
    ],
    [
      'a command of no size',
      doctored(content, 36, little([4, 0])),
      'expected a multiple of 8 bytes for a command, received 0',
    ],
    [
      'a command of an odd size',
      doctored(content, 36, little([4, 77])),
      'expected a multiple of 8 bytes for a command, received 77',
    ],
    ['a command beyond the others', doctored(content, 36, little([4, 0xfffffff8])), 'load command 0: expected'],
    ['too many sections', inCommand(content, 0x19, 64, all.subarray(0, 4)), 'sections: expected'],
    ['a segment that is not there', inCommand(content, 0x19, 40, all), 'a segment: expected'],
    [
      'a segment larger than its memory',
      inCommand(content, 0x19, 32, little([8, 1])),
      'expected 16384 bytes of memory for a segment, received 1',
    ],
    ['a name outside its command', inCommand(content, 0x0c, 8, all.subarray(0, 4)), 'expected 1 bytes'],
    [
      'two install names',
      inCommand(content, 0x0c, 0, little([4, 0x0d])),
      'expected the install name once, received 2 times',
    ],
    [
      'two symbol tables',
      machOFile({ moreCommands: [little([4, 2], [4, 24], [8, 0], [8, 0])] }).content,
      'expected the symbol table once',
    ],
    [
      'two signatures',
      machOFile({ moreCommands: [little([4, 0x1d], [4, 16], [8, 0])] }).content,
      'expected a code signature once',
    ],
    ['symbols beyond the file', inCommand(content, 0x02, 12, all.subarray(0, 4)), 'symbol table: expected'],
    ['names beyond the file', inCommand(content, 0x02, 16, all.subarray(0, 4)), 'names of symbols: expected'],
    [
      'a symbol without a name',
      doctored(content, at.symbols, all.subarray(0, 4)),
      'names of symbols: expected 1 bytes',
    ],
    [
      'a symbol of no library',
      machOFile({ imports: [{ name: '_a', ordinal: 2 }] }).content,
      'expected _a from one of 1 libraries, received 2',
    ],
    ['bindings beyond the file', inCommand(content, 0x80000022, 16, all.subarray(0, 4)), 'bindings: expected'],
    [
      'an opcode that is none',
      machOFile({ opcodes: Buffer.from([0xd0]) }).content,
      'bindings: expected an opcode of dyld, received 0xd0',
    ],
    [
      'a binding without a symbol',
      machOFile({ opcodes: Buffer.from([0x90]) }).content,
      'bindings: expected a symbol before it is bound, received none',
    ],
    [
      'an endless number',
      machOFile({ opcodes: Buffer.alloc(20, 0x80) }).content,
      'bindings: expected a number of at most 10 bytes',
    ],
    [
      'chained fixups of another version',
      doctored(chained.content, chained.at.chained, little([4, 1])),
      'chained fixups: expected version 0, received 1',
    ],
    [
      'chained fixups of another format',
      doctored(chained.content, chained.at.chained + 20, little([4, 4])),
      'expected imports of format 1, 2 or 3, received 4',
    ],
    [
      'chained fixups with compressed names',
      doctored(chained.content, chained.at.chained + 24, little([4, 1])),
      'expected names that are not compressed (0), received 1',
    ],
    [
      'too many chained imports',
      doctored(chained.content, chained.at.chained + 16, all.subarray(0, 4)),
      'chained imports: expected',
    ],
    [
      'names of chained imports elsewhere',
      doctored(chained.content, chained.at.chained + 12, all.subarray(0, 4)),
      'names of chained imports: expected',
    ],
    [
      'an export trie that comes back to its root',
      trie('\0\x01_a\0\0'),
      'exports: expected a tree, received a second way to the node at 0',
    ],
    [
      'an export trie with two ways to a node',
      trie('\0\x02_a\0\x0a_b\0\x0a\x02\0\0\0'),
      'exports: expected a tree, received a second way to the node at 10',
    ],
    ['an export trie with a node outside', trie('\0\x01_a\0\x7f'), 'exports: expected 1 bytes'],
    [
      'an export trie with more about a name than it says',
      trie('\0\x01_a\0\x06\x02\0\x80\x01\0'),
      'expected 2 bytes about an export, received 3',
    ],
    [
      'an export trie with an endless name',
      trie(`\0\x01${'x'.repeat(2000)}\0\xd5\x0f\0\x01${'x'.repeat(100)}\0\x00`),
      'exports: expected names of at most 2048 bytes',
    ],
    [
      'an export trie of the other kind that is cut off',
      machOFile({ binding: 'chained', trie: Buffer.from([0, 1, 95]) }).content,
      'export trie: expected',
    ],
  ])('is refused: %s', (_, damaged, message) => {
    expect(() => read(damaged)).toThrow(message)
  })

  it('is read or refused whatever its numbers are', () => {
    for (const file of [content, chained.content])
      for (const part of meaningful(file)) expectBounds(readMachO, file, part)
  })

  it('is read or refused whatever its bytes are', () => {
    for (const file of [content, chained.content]) expectRobust(readMachO, file, meaningful(file), 1500)
  })

  it('is read once where one long name is bound again and again', () => {
    const name = Buffer.from(`${'x'.repeat(2000)}\0`)
    const opcodes = Buffer.concat([Buffer.from([0x11, 0x40]), name, Buffer.alloc(3_000_000, Buffer.from([0x11, 0x90]))])
    const { content } = machOFile({ opcodes, undefinedSymbols: [] })
    expect(expectFewReads(content, 2, () => read(content)).imports).toHaveLength(1)
  })
})

describe('a code signature', () => {
  const { content, at } = machOFile()
  /** The only code directory of a signature. */
  const directory = (file) => read(file).signature.directories[0]
  const directoryAt = at.signature + content.readUInt32BE(at.signature + 16)

  it.each([
    ['the first byte of a page', at.code, 3],
    ['the last byte of a page', at.code - 1, 2],
    ['the header', 28, 0],
    ['the symbols', at.symbols + 8, 4],
    ['the last name that is signed', at.signature - 2, 4],
  ])('tells of a change of one bit: %s', (_, place, page) => {
    expect(directory(doctored(content, place, Buffer.from([content[place] ^ 1]))).changedPages).toEqual([page])
  })

  it('tells of every byte that is changed among the names', () => {
    for (let place = at.names; place < at.signature - 1; place += 1)
      expect(directory(doctored(content, place, Buffer.from([content[place] ^ 128]))).changedPages).toEqual([4])
  })

  it('tells of a change of a hash, and of the other parts', () => {
    const last = content.length - 13
    expect(directory(doctored(content, last, Buffer.from([content[last] ^ 1]))).changedPages).toEqual([4])
    const requirements = content.length - 1
    expect(directory(doctored(content, requirements, little([1, 7]))).changedSlots).toEqual([2])
  })

  it.each([
    ['SHA-1', [1], ['SHA-1']],
    ['both, as for older systems', [1, 2], ['SHA-1', 'SHA-256']],
    ['SHA-256 cut off, and SHA-384', [3, 4], ['SHA-256 cut off', 'SHA-384']],
  ])('is verified by %s', (_, hashTypes, names) => {
    const file = machOFile({ signature: { hashTypes } })
    const { directories } = read(file.content).signature
    expect(directories.map(({ hash, changedPages, changedSlots }) => [hash, changedPages, changedSlots])).toEqual(
      names.map((name) => [name, [], []]),
    )
    const changed = read(doctored(file.content, file.at.code, Buffer.from('x'))).signature.directories
    expect(changed.map(({ changedPages }) => changedPages)).toEqual(names.map(() => [3]))
  })

  it.each([
    ['pages of 16 KiB', { pageShift: 14 }, { pages: 2, changedPages: [] }],
    ['one page for all', { pageShift: 0, left: 0 }, { pages: 1, changedPages: [] }],
    ['no slots but the pages', { specialSlots: 0 }, { changedSlots: [] }],
    ['a slot whose part is not there', { specialSlots: 5 }, { changedSlots: [] }],
    [
      'entitlements',
      { specialSlots: 5, slots: { 5: Buffer.concat([big(0xfade7171, 12), big(1)]) } },
      { changedSlots: [] },
    ],
    ['code that is left out', { left: 100 }, { codeLimit: at.signature - 100, changedPages: [] }],
    ['not ad hoc', { flags: 1 }, { adHoc: false, linkerSigned: false }],
    ['an older version', { version: 0x20001 }, { changedPages: [] }],
  ])('is read: %s', (_, signature, expected) => {
    expect(directory(machOFile({ signature }).content)).toMatchObject(expected)
  })

  it('is not ad hoc with a certificate in it', () => {
    const certificate = Buffer.concat([big(0xfade0b01, 12), big(1)])
    expect(facts({ signature: { slots: { 65536: certificate } } }).signature.adHoc).toBe(false)
    expect(facts({ signature: { slots: { 65536: big(0xfade0b01, 8) } } }).signature.adHoc).toBe(true)
  })

  it.each([
    [
      'another beginning',
      at.signature,
      little([4, 1]),
      'code signature: expected an embedded signature, received 0x1000000',
    ],
    ['a length beyond the file', at.signature + 4, all.subarray(0, 4), 'code signature: expected 4294967295 bytes'],
    ['too many parts', at.signature + 8, all.subarray(0, 4), 'index of the code signature: expected'],
    [
      'a slot twice',
      at.signature + 20,
      big(0),
      'index of the code signature: expected every slot once, received slot 0 twice',
    ],
    ['a part outside', at.signature + 16, all.subarray(0, 4), 'code signature: expected 4 bytes'],
    [
      'another beginning of a code directory',
      directoryAt,
      big(1),
      'slot 0 of the code signature: expected a code directory, received 0x1',
    ],
    ['a hash of no type', directoryAt + 37, little([1, 9]), 'expected a hash of type 1 to 4, received 9'],
    ['a hash of another size', directoryAt + 36, little([1, 20]), 'expected 32 bytes of SHA-256, received 20'],
    ['scattered pages', directoryAt + 44, big(1), 'expected pages in their order, received scattered ones'],
    ['too few pages', directoryAt + 28, big(4), 'expected hashes of 5 pages, received of 4'],
    ['more than the file', directoryAt + 32, big(0xffffffff), 'signed bytes: expected 4294967295 bytes'],
    ['hashes outside', directoryAt + 16, all.subarray(0, 4), 'hashes of pages: expected'],
    ['hashes of slots in front of the directory', directoryAt + 24, big(32), 'hashes of slots: expected'],
    [
      'too many slots',
      directoryAt + 24,
      all.subarray(0, 4),
      'expected hashes of at most 32 slots, received of 4294967295',
    ],
    ['a name outside', directoryAt + 20, all.subarray(0, 4), 'expected 1 bytes'],
  ])('is refused: %s', (_, place, bytes, message) => {
    expect(() => read(doctored(content, place, bytes))).toThrow(message)
  })

  it('stands for the limit of 64 bits, when there is one', () => {
    const far = doctored(content, directoryAt + 56, big(0, at.signature - 4096))
    expect(() => read(far)).toThrow('expected hashes of 4 pages, received of 5')
  })

  it('is what is written for the same code', () => {
    expect(content.subarray(at.signature).equals(signatureOf(content.subarray(0, at.signature)))).toBe(true)
    expect(facts({ cpu: arm64 })).toEqual(facts())
  })
})
