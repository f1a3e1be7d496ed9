import { describe, expect, it } from 'vitest'
import { readElf } from '../binaries/elf.mjs'
import { expectBounds, expectFewReads, expectRobust, expectWhole } from './support/binaries-damage.mjs'
import { doctored, little } from './support/binaries-layout.mjs'
import { elfFile, machines } from './support/elf-file.mjs'
import { machOFile } from './support/mach-o-file.mjs'

const read = (content) => readElf('addon.node', content)
const facts = (changes) => read(elfFile(changes).content)

/** A file in which the value of a dynamic entry is another. */
function withEntry({ content, at }, tag, value) {
  for (let entry = at.dynamic; ; entry += 16)
    if (content.readBigUInt64LE(entry) === BigInt(tag)) return doctored(content, entry + 8, little([8, value]))
}

const nodeApi = { name: 'napi_create_double', weak: false }
const malloc = { name: 'malloc', weak: false, library: 'libc.so.6', version: 'GLIBC_2.17' }

describe('a shared object of Linux', () => {
  it('says what it is and what it needs', () => {
    expect(facts()).toEqual({
      ...{ machine: 'x64', type: 'a shared object', soname: undefined, runPaths: [] },
      libraries: ['libm.so.6', 'libc.so.6'],
      versions: [
        { library: 'libc.so.6', version: 'GLIBC_2.17' },
        { library: 'libm.so.6', version: 'GLIBC_2.27' },
      ],
      exports: ['napi_register_module_v1', 'node_api_module_get_api_version_v1'],
      imports: [
        nodeApi,
        { name: '__gmon_start__', weak: true },
        malloc,
        { ...malloc, name: 'free' },
        { name: 'exp', weak: false, library: 'libm.so.6', version: 'GLIBC_2.27' },
      ],
      ...{ packedRelocations: false, textRelocations: false, bindNow: true, noDelete: true, relro: 'full' },
      ...{ symbolTable: false, debugSections: [], executableStack: false, writableCode: false, pageSize: 65536 },
    })
  })

  it.each([
    ['the machine', { machine: machines.arm64 }, { machine: 'arm64' }],
    ['a machine it has no name for', { machine: 8 }, { machine: 'machine 8' }],
    ['an executable that can be loaded anywhere', { flags1: 0x08000001 }, { type: 'an executable', bindNow: true }],
    ['its own name', { texts: { SONAME: 'libintattn.so' } }, { soname: 'libintattn.so' }],
    ['run paths', { texts: { RPATH: '/opt', RUNPATH: '$ORIGIN' } }, { runPaths: ['/opt', '$ORIGIN'] }],
    ['binding at first use', { flags: 0, flags1: 0 }, { bindNow: false, relro: 'partial' }],
    [
      'binding at once, by its own entry',
      { flags: 0, flags1: 0, entries: [[24, 0]] },
      { bindNow: true, relro: 'full' },
    ],
    ['binding at once, by the newer flags', { flags: 0, flags1: 1 }, { bindNow: true, relro: 'full' }],
    ['binding at once, by the older flags', { flags: 8, flags1: 0 }, { bindNow: true, relro: 'full' }],
    ['that dlclose unloads it', { flags1: 1 }, { noDelete: false }],
    ['no protection of relocated data', { relro: false }, { relro: 'none' }],
    ['packed relocations', { entries: [[36, 0]] }, { packedRelocations: true }],
    ['text relocations, by their entry', { entries: [[22, 0]] }, { textRelocations: true }],
    ['text relocations, by their flag', { flags: 12 }, { textRelocations: true }],
    ['text relocations that nothing tells of', { relocatedCode: true }, { textRelocations: true }],
    ['text relocations among calls', { relocatedCode: true, callTable: true }, { textRelocations: true }],
    ['an executable stack', { stack: 7 }, { executableStack: true }],
    ['nothing about the stack, which makes it executable', { stack: null }, { executableStack: true }],
    ['code that can be written to', { access: [7, 6] }, { writableCode: true }],
    ['small pages', { alignment: 4096 }, { pageSize: 4096 }],
    [
      'its symbol table',
      {
        sections: [
          ['.shstrtab', 3],
          ['.symtab', 2],
        ],
      },
      { symbolTable: true },
    ],
    [
      'debug information',
      {
        sections: [
          ['.shstrtab', 3],
          ['.debug_info', 1],
          ['.zdebug_line', 1],
          ['.debugger', 1],
        ],
      },
      { debugSections: ['.debug_info', '.zdebug_line'] },
    ],
    ['nothing that is not loaded', { sections: null }, { symbolTable: false, debugSections: [] }],
    ['hidden symbols, which are no exports', { visibility: 2 }, { exports: [] }],
    [
      'protected symbols, which are',
      { visibility: 3 },
      { exports: expect.arrayContaining(['napi_register_module_v1']) },
    ],
    [
      'versions that no symbol needs',
      { versions: [{ library: 'libc.so.6', version: 'GLIBC_2.38' }] },
      { versions: expect.arrayContaining([{ library: 'libc.so.6', version: 'GLIBC_2.38' }]) },
    ],
    [
      'a library that needs no versions',
      { imports: [{ name: 'napi_create_double' }] },
      { versions: [], imports: [nodeApi] },
    ],
    [
      'nothing exported, by hash tables alone',
      { exports: [] },
      { exports: [], imports: expect.arrayContaining([nodeApi]) },
    ],
    ['names that are not text', { libraries: ['lib\x1b[31m\xff.so'] }, { libraries: ['lib\\x1b[31m\\xff.so'] }],
  ])('says %s', (_, changes, expected) => {
    expect(facts(changes)).toMatchObject(expected)
  })

  it.each([
    ['needed', 1],
    ['that audits what depends on it', 0x6ffffefb],
    ['that audits', 0x6ffffefc],
    ['that is auxiliary', 0x7ffffffd],
    ['that filters', 0x7fffffff],
  ])('says what is loaded: a library %s', (_, tag) => {
    const { content } = elfFile({ libraries: [], imports: [{ name: 'libother.so' }], entries: [[tag, 1]] })
    expect(read(content).libraries).toEqual(['libother.so'])
  })

  it.each([[['gnu']], [['sysv']], [['gnu', 'sysv']]])('has the symbols of its hash tables, %j', (hashes) => {
    expect(facts({ hashes })).toEqual(facts())
  })

  it.each([2, 3, 10])('has the symbols of all %i buckets of a hash table', (buckets) => {
    const exports = ['a', 'b', 'c', 'd', 'e']
    expect(facts({ buckets, exports }).exports).toEqual(exports)
  })

  it.each([false, true])('has the symbols that nothing but relocations refers to, of calls: %s', (callTable) => {
    const { content, at } = elfFile({ exports: [], callTable })
    const hidden = doctored(content, at.gnuHash + 4, little([4, 1]))
    expect(read(hidden).imports).toEqual(facts().imports)
  })
})

describe('what is not a shared object of Linux', () => {
  it.each([
    ['nothing', Buffer.alloc(0), 'expected an ELF file, received another kind of file'],
    ['text', Buffer.from('module.exports = {}\n'), 'expected an ELF file, received another kind of file'],
    ['a Mach-O file', machOFile().content, 'expected an ELF file, received Mach-O for arm64'],
    ['an object file', elfFile({ type: 1 }).content, 'expected a shared object, received an object file'],
    ['an executable', elfFile({ type: 2 }).content, 'expected a shared object, received an executable'],
    ['another type', elfFile({ type: 77 }).content, 'expected a shared object, received type 77'],
    ['32 bits', doctored(elfFile().content, 4, little([1, 1])), 'expected 64 bits (class 2), received class 1'],
    ['big-endian', doctored(elfFile().content, 5, little([1, 2])), 'expected little-endian data (1), received 2'],
    ['another version', doctored(elfFile().content, 6, little([1, 0])), 'expected version 1, received 0'],
    ['of FreeBSD', doctored(elfFile().content, 7, little([1, 9])), 'expected an ABI of Linux (0 or 3), received 9'],
  ])('is refused: %s', (_, content, message) => {
    expect(() => read(content)).toThrow(message)
  })
})

describe('a damaged shared object', { timeout: 60_000 }, () => {
  const file = elfFile()
  const { content, at } = file
  const loads = { code: at.programHeaders, data: at.programHeaders + 56 }
  const all = little([8, -1])

  it('is refused wherever it is cut off', () => {
    expectWhole(readElf, content)
    expectWhole(readElf, elfFile({ hashes: ['sysv'] }).content)
  })

  it.each([
    [
      'program headers far away',
      doctored(content, 32, all),
      /program headers: expected 280 bytes at 0x1000+, received an end at 0x588/,
    ],
    [
      'too many program headers',
      doctored(content, 56, all.subarray(0, 2)),
      'expected at most 128 program headers, received 65535',
    ],
    [
      'program headers of another size',
      doctored(content, 54, little([2, 32])),
      'expected program headers of 56 bytes, received 32',
    ],
    ['section headers far away', doctored(content, 40, all), 'section headers: expected 128 bytes at 0x1000'],
    ['too many section headers', doctored(content, 60, all.subarray(0, 2)), 'section headers: expected 4194240 bytes'],
    [
      'section headers without a number',
      doctored(content, 60, little([4, 0])),
      'expected place and number of section headers, received 1288 and 0',
    ],
    [
      'section headers of another size',
      doctored(content, 58, little([2, 40])),
      'expected section headers of 64 bytes, received 40',
    ],
    [
      'names of sections elsewhere',
      doctored(content, 62, little([2, 2])),
      'expected the section of names to be one of 2, received 2',
    ],
    ['a section that is not there', doctored(content, at.sections + 64 + 32, all), 'section 1: expected'],
    ['a segment that is not there', doctored(content, loads.code + 32, all), 'a loaded segment: expected'],
    [
      'a segment larger than its memory',
      doctored(content, loads.code + 40, little([8, 1])),
      /expected \d+ bytes of memory for a segment, received 1/,
    ],
    [
      'segments over one another',
      doctored(content, loads.data + 16, little([8, at.dynamic & 255])),
      'loaded segments one behind the other',
    ],
    [
      'a segment that is not aligned',
      doctored(content, loads.data + 16, little([8, 0x20000])),
      'expected a segment to be aligned',
    ],
    ['no alignment', doctored(content, loads.code + 48, little([8, 0])), 'expected a segment to be aligned'],
    [
      'no dynamic segment',
      doctored(content, loads.data + 56, little([4, 4])),
      'expected one dynamic segment, received 0',
    ],
    [
      'two dynamic segments',
      doctored(content, loads.data + 112, little([4, 2])),
      'expected one dynamic segment, received 2',
    ],
    [
      'a dynamic segment at no address',
      doctored(content, loads.data + 56 + 16, little([8, 0x900000])),
      'dynamic segment: expected an address that is loaded, received 0x900000',
    ],
    [
      'a dynamic segment without an end',
      doctored(content, loads.data + 56 + 32, little([8, 16])),
      'dynamic segment: expected',
    ],
    ['no strings', elfFile({ entries: [[5, 0]] }).content, 'expected strings once, received 2 times'],
    [
      'strings at no address',
      withEntry(file, 5, 0x900000),
      'dynamic strings: expected an address that is loaded, received 0x900000',
    ],
    ['too many strings', withEntry(file, 10, -1), 'dynamic strings: expected'],
    [
      'a name beyond the strings',
      doctored(content, at.symbols + 24, all.subarray(0, 4)),
      'dynamic strings: expected 1 bytes',
    ],
    ['symbols at no address', withEntry(file, 6, -1), 'dynamic symbols: expected an address that is loaded'],
    [
      'relocations that are no whole number',
      withEntry(file, 8, 25),
      'relocations: expected a multiple of 24 bytes, received 25',
    ],
    ['too many relocations', withEntry(file, 8, 24 * 2 ** 40), 'relocations: expected'],
    [
      'a relocation of a symbol that is not there',
      doctored(content, at.relocations + 12, all.subarray(0, 4)),
      'dynamic symbols: expected',
    ],
    [
      'relocations of another kind',
      elfFile({ entries: [[17, 0]] }).content,
      'expected relocations with addends (RELA), received some without (REL)',
    ],
    [
      'relocations of another kind for calls',
      elfFile({ entries: [[20, 17]] }).content,
      'expected relocations with addends (RELA)',
    ],
    [
      'chains of a hash table in front of its symbols',
      doctored(content, at.gnuHash + 24, little([4, 1])),
      'GNU hash table: expected chains from symbol 6 on, received one from 1',
    ],
    [
      'a chain of a hash table without an end',
      doctored(content, at.gnuHash + 24, little([4, 0xfffffff])),
      'GNU hash table: expected',
    ],
    ['too many hash buckets', doctored(content, at.gnuHash, all.subarray(0, 4)), 'GNU hash table: expected'],
    [
      'too large a filter of a hash table',
      doctored(content, at.gnuHash + 8, all.subarray(0, 4)),
      'GNU hash table: expected',
    ],
    [
      'too many symbols in a hash table',
      doctored(elfFile({ hashes: ['sysv'] }).content, at.hash + 4, all.subarray(0, 4)),
      'dynamic symbols: expected',
    ],
    [
      'a version that is none',
      doctored(content, at.symbolVersions + 2, little([2, 9])),
      'dynamic symbols: expected a version needed for symbol 1, received number 9, which is none',
    ],
    [
      'too many version needs',
      withEntry(file, 0x6fffffff, 0xffffffff),
      'version needs: expected 4294967295 chained records, received another number',
    ],
    [
      'version needs that go on',
      withEntry(file, 0x6fffffff, 1),
      'version needs: expected 1 chained records, received another number',
    ],
    [
      'a version need beyond the segment',
      doctored(content, at.versionNeeds + 12, all.subarray(0, 4)),
      'version needs: expected',
    ],
    [
      'too many versions of a library',
      doctored(content, at.versionNeeds + 2, all.subarray(0, 2)),
      'version needs: expected 65535 chained records',
    ],
    [
      'an endless name',
      elfFile({ libraries: ['x'.repeat(5000)] }).content,
      'dynamic strings: expected a name of at most 2048 bytes at 0x',
    ],
  ])('is refused: %s', (_, damaged, message) => {
    expect(() => read(damaged)).toThrow(message)
  })

  it('is read or refused whatever its numbers are', () => {
    for (const hashes of [['gnu'], ['sysv']]) expectBounds(readElf, elfFile({ hashes }).content)
  })

  it('is read or refused whatever its bytes are', () => {
    expectRobust(readElf, content)
    expectRobust(
      readElf,
      elfFile({
        hashes: ['sysv'],
        sections: [
          ['.shstrtab', 3],
          ['.debug_info', 1],
        ],
      }).content,
    )
  })

  it('is refused without reading it over and over where tables share their records', () => {
    const libraries = 20_000
    const versions = 65_535
    const record = (i) =>
      little([2, 1], [2, versions], [4, 0], [4, 16 * (libraries - i)], [4, i + 1 < libraries ? 16 : 0])
    const version = little([8, 0], [4, 0], [4, 16])
    const last = little([8, 0], [4, 0], [4, 0])
    const code = Buffer.concat([
      ...Array.from({ length: libraries }, (_, i) => record(i)),
      ...Array(versions - 1).fill(version),
      last,
    ])
    const large = elfFile({ code: code.toString('latin1') })
    const counted = { content: withEntry(large, 0x6fffffff, libraries), at: large.at }
    const shared = withEntry(counted, 0x6ffffffe, large.at.code)
    expectFewReads(shared, 2, () => expect(() => read(shared)).toThrow('records side by side'))
  })
})
