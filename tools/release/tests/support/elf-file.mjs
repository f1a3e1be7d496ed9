import { Layout, little, Names } from './binaries-layout.mjs'

export const machines = { x64: 62, arm64: 183 }
const tags = {
  ...{
    NEEDED: 1,
    PLTRELSZ: 2,
    HASH: 4,
    STRTAB: 5,
    SYMTAB: 6,
    RELA: 7,
    RELASZ: 8,
    STRSZ: 10,
    SONAME: 14,
    RPATH: 15,
    RUNPATH: 29,
  },
  ...{ PLTREL: 20, JMPREL: 23, FLAGS: 30, GNU_HASH: 0x6ffffef5, VERSYM: 0x6ffffff0, FLAGS_1: 0x6ffffffb },
  ...{ VERNEED: 0x6ffffffe, VERNEEDNUM: 0x6fffffff },
}
/** What is added to an offset to make an address, for what can be written to. */
const dataAddress = 0x10000

const good = {
  machine: machines.x64,
  type: 3,
  flags: 8,
  flags1: 9,
  exports: ['napi_register_module_v1', 'node_api_module_get_api_version_v1'],
  /** @type {{ name: string, weak?: boolean, library?: string, version?: string }[]} */
  imports: [
    { name: 'napi_create_double' },
    { name: '__gmon_start__', weak: true },
    { name: 'malloc', library: 'libc.so.6', version: 'GLIBC_2.17' },
    { name: 'free', library: 'libc.so.6', version: 'GLIBC_2.17' },
    { name: 'exp', library: 'libm.so.6', version: 'GLIBC_2.27' },
  ],
  libraries: ['libm.so.6', 'libc.so.6'],
  /** Needed beside those of the imports. @type {{ library: string, version: string }[]} */
  versions: [],
  /** @type {[tag: number, value: number][]} */
  entries: [],
  /** @type {Partial<Record<'SONAME' | 'RPATH' | 'RUNPATH', string>>} */
  texts: {},
  /** @type {('gnu' | 'sysv')[]} */
  hashes: ['gnu'],
  /** How many GNU's hash table divides the exports into. */
  buckets: 1,
  /** Access to the stack (4 read, 2 write, 1 execute); null: nothing is said about it. @type {number | null} */
  stack: 6,
  relro: true,
  /** Access to the segments of code and of data. */
  access: [5, 6],
  alignment: 0x10000,
  /** Whether a relocation changes the code. */
  relocatedCode: false,
  /** Whether the last relocation is in the table of calls (DT_JMPREL). */
  callTable: false,
  /** @type {[name: string, type: number][] | null} null: without section headers */
  sections: [['.shstrtab', 3]],
  code: 'code',
  visibility: 0,
}

/**
 * An addon for Linux, as small as it can be, with everything that is looked at.
 * @param {Partial<typeof good>} changes to a good one
 */
export function elfFile(changes = {}) {
  const made = { ...good, ...changes }
  const layout = new Layout()
  const names = new Names()
  layout.add('header', 64)
  const segmentCount = 3 + (made.stack === null ? 0 : 1) + (made.relro ? 1 : 0)
  layout.add('programHeaders', 56 * segmentCount)

  const needs = new Map()
  for (const { library, version } of [...made.imports, ...made.versions])
    if (library) needs.set(library, (needs.get(library) ?? new Map()).set(version, 0))
  let index = 2
  for (const versions of needs.values()) for (const version of versions.keys()) versions.set(version, index++)

  const first = 1 + made.imports.length
  const symbols = [
    little([8, 0], [8, 0], [8, 0]),
    ...made.imports.map(({ name, weak }) => little([4, names.add(name)], [4, weak ? 0x20 : 0x10], [8, 0], [8, 0])),
    ...made.exports.map((name) =>
      little([4, names.add(name)], [1, 0x12], [1, made.visibility], [2, 1], [8, 0x100], [8, 4]),
    ),
  ]
  layout.add('symbols', Buffer.concat(symbols))
  const versionOf = ({ library, version }) => needs.get(library)?.get(version) ?? 1
  layout.add(
    'symbolVersions',
    little([2, 0], ...made.imports.map((one) => [2, versionOf(one)]), ...made.exports.map(() => [2, 1])),
  )
  const records = [...needs].flatMap(([library, versions], i) => [
    little(
      [2, 1],
      [2, versions.size],
      [4, names.add(library)],
      [4, 16],
      [4, i + 1 < needs.size ? 16 + 16 * versions.size : 0],
    ),
    ...[...versions].map(([version, number], k) =>
      little([4, 0], [2, 0], [2, number], [4, names.add(version)], [4, k + 1 < versions.size ? 16 : 0]),
    ),
  ])
  layout.add('versionNeeds', Buffer.concat(records))
  const count = made.exports.length
  const share = Math.ceil(count / made.buckets)
  const buckets = Array.from({ length: made.buckets }, (_, i) => (i * share < count ? first + i * share : 0))
  const chain = made.exports.map((_, i) => ((i + 1) % share && i + 1 < count ? 0 : 1))
  const words = [...buckets, ...chain].map((word) => [4, word])
  layout.add('gnuHash', little([4, made.buckets], [4, first], [4, 1], [4, 0], [8, -1], ...words))
  layout.add('hash', little([4, 1], [4, symbols.length], [4, 1], ...symbols.map(() => [4, 0])))
  const relocations = layout.add('relocations', 24 * (made.imports.length + (made.relocatedCode ? 1 : 0)))
  const calls = made.callTable ? 24 : 0
  layout.add('code', Buffer.from(made.code, 'latin1'))

  const texts = Object.entries(made.texts).map(([tag, value]) => [tags[tag], names.add(value)])
  const libraries = made.libraries.map((name) => [tags.NEEDED, names.add(name)])
  layout.add('strings', names.content)
  const codeEnd = layout.length
  const { at } = layout
  const entries = [
    ...libraries,
    ...texts,
    ...(made.hashes.includes('gnu') ? [[tags.GNU_HASH, at.gnuHash]] : []),
    ...(made.hashes.includes('sysv') ? [[tags.HASH, at.hash]] : []),
    ...[
      [tags.STRTAB, at.strings],
      [tags.STRSZ, names.content.length],
      [tags.SYMTAB, at.symbols],
    ],
    ...[
      [tags.RELA, at.relocations],
      [tags.RELASZ, relocations.length - calls],
    ],
    ...(made.callTable
      ? [
          [tags.JMPREL, at.relocations + relocations.length - calls],
          [tags.PLTRELSZ, calls],
          [tags.PLTREL, tags.RELA],
        ]
      : []),
    ...(needs.size
      ? [
          [tags.VERSYM, at.symbolVersions],
          [tags.VERNEED, at.versionNeeds],
          [tags.VERNEEDNUM, needs.size],
        ]
      : []),
    ...[
      [tags.FLAGS, made.flags],
      [tags.FLAGS_1, made.flags1],
    ],
    ...made.entries,
    [0, 0],
  ]
  const dynamic = little(
    ...entries.flatMap(([tag, value]) => [
      [8, tag],
      [8, value],
    ]),
  )
  layout.add('dynamic', dynamic)
  layout.add('slots', 8 * made.imports.length)
  const dataEnd = layout.length

  made.imports.forEach((_, i) => {
    little([8, at.slots + dataAddress + 8 * i], [4, 6], [4, 1 + i], [8, 0]).copy(relocations, 24 * i)
  })
  if (made.relocatedCode) little([8, at.code], [4, 8], [4, 0], [8, 0]).copy(relocations, 24 * made.imports.length)

  let [sectionsAt, sectionCount] = [0, 0]
  if (made.sections) {
    const sectionNames = new Names()
    const sections = made.sections.map(([name, type]) => ({ name: sectionNames.add(name), type }))
    layout.add('sectionNames', sectionNames.content)
    const [offset, size] = [at.sectionNames, sectionNames.content.length]
    layout.add(
      'sections',
      Buffer.concat([
        Buffer.alloc(64),
        ...sections.map(({ name, type }) =>
          little([4, name], [4, type], [8, 0], [8, 0], [8, offset], [8, size], [4, 0], [4, 0], [8, 1], [8, 0]),
        ),
      ]),
    )
    sectionsAt = at.sections
    sectionCount = sections.length + 1
  }

  const { content } = layout
  const header = little(
    ...[
      [4, 0x464c457f],
      [1, 2],
      [1, 1],
      [1, 1],
      [1, 0],
      [8, 0],
      [2, made.type],
      [2, made.machine],
      [4, 1],
      [8, 0],
    ],
    ...[
      [8, 64],
      [8, sectionsAt],
      [4, 0],
      [2, 64],
      [2, 56],
      [2, segmentCount],
      [2, 64],
      [2, sectionCount],
      [2, sectionCount && 1],
    ],
  )
  const segment = (type, access, offset, size, address = offset, alignment = 8) =>
    little([4, type], [4, access], [8, offset], [8, address], [8, address], [8, size], [8, size], [8, alignment])
  const dataSize = dataEnd - at.dynamic
  const segments = [
    segment(1, made.access[0], 0, codeEnd, 0, made.alignment),
    segment(1, made.access[1], at.dynamic, dataSize, at.dynamic + dataAddress, made.alignment),
    segment(2, 6, at.dynamic, dynamic.length, at.dynamic + dataAddress),
    ...(made.stack === null ? [] : [segment(0x6474e551, made.stack, 0, 0)]),
    ...(made.relro ? [segment(0x6474e552, 4, at.dynamic, dataSize, at.dynamic + dataAddress)] : []),
  ]
  Buffer.concat([header, ...segments]).copy(content)
  return { content, at }
}
