import { countSymbols, readSymbols } from './elf-symbols.mjs'
import { readVersionNeeds } from './elf-versions.mjs'

const tags = {
  ...{ end: 0, needed: 1, hash: 4, strings: 5, symbols: 6, relocations: 7, relocationsSize: 8, stringsSize: 10 },
  ...{ soname: 14, rpath: 15, relocationsWithoutAddend: 17, pltRelocationsSize: 2, pltRelocationsType: 20 },
  ...{ textRelocations: 22, pltRelocations: 23, bindNow: 24, runPath: 29, flags: 30, packedRelocations: 36 },
  ...{ gnuHash: 0x6ffffef5, symbolVersions: 0x6ffffff0, flags1: 0x6ffffffb },
  ...{ versionNeeds: 0x6ffffffe, versionNeedsCount: 0x6fffffff },
}
/** What makes the loader load a library: DT_NEEDED, DT_DEPAUDIT, DT_AUDIT, DT_AUXILIARY, DT_FILTER. */
const loading = [tags.needed, 0x6ffffefb, 0x6ffffefc, 0x7ffffffd, 0x7fffffff]
const flagsOf = { textRelocations: 4, bindNow: 8 }
const flags1Of = { bindNow: 1, noDelete: 8, positionIndependentExecutable: 0x08000000 }
const relocationSize = 24

/** @param {number} bits @param {number} flag */
const has = (bits, flag) => Math.floor(bits / flag) % 2 === 1

/** The values of each tag. @param {import('./bytes.mjs').Bytes} segment */
function readEntries(segment) {
  /** @type {Map<number, number[]>} */
  const entries = new Map()
  for (let at = 0; ; at += 16) {
    const tag = segment.u64(at)
    if (tag === tags.end) return entries
    const values = entries.get(tag)
    if (values) values.push(segment.u64(at + 8))
    else entries.set(tag, [segment.u64(at + 8)])
  }
}

/**
 * Which symbols relocations refer to, and whether they change what cannot be written to.
 * @param {import('./elf-image.mjs').Image} image
 * @param {import('./bytes.mjs').Bytes} table
 */
function readRelocations(image, table) {
  if (table.length % relocationSize) throw table.problem(`a multiple of ${relocationSize} bytes`, `${table.length}`)
  let symbols = 0
  let text = false
  for (let at = 0; at < table.length; at += relocationSize) {
    const type = table.u32(at + 8)
    symbols = Math.max(symbols, table.u32(at + 12) + 1)
    text ||= type !== 0 && !image.isWritable(table.u64(at))
  }
  return { symbols, text }
}

/**
 * @param {import('./elf-image.mjs').Image} image
 * @param {import('./elf-image.mjs').Segment} at
 */
export function readDynamic(image, at) {
  const segment = image.at('dynamic segment', at.address, at.fileSize)
  const entries = readEntries(segment)
  /** @param {keyof typeof tags} name */
  const find = (name) => {
    const values = entries.get(tags[name]) ?? []
    if (values.length > 1) throw segment.problem(`${name} once`, `${values.length} times`)
    return values[0]
  }
  /** @param {keyof typeof tags} name */
  const get = (name) => {
    const value = find(name)
    if (value === undefined) throw segment.problem(name, 'none')
    return value
  }

  const strings = image.at('dynamic strings', get('strings'), get('stringsSize'))
  /** @param {number[]} of */
  const texts = (of) => of.flatMap((tag) => entries.get(tag) ?? []).map((offset) => strings.text(offset))

  if (
    find('relocationsWithoutAddend') !== undefined ||
    (find('pltRelocationsType') ?? tags.relocations) !== tags.relocations
  )
    throw segment.problem('relocations with addends (RELA)', 'some without (REL)')
  /** @param {keyof typeof tags} name @param {keyof typeof tags} size */
  const relocationsAt = (name, size) =>
    find(name) === undefined ? [] : [readRelocations(image, image.at(name, get(name), get(size)))]
  const relocations = [
    ...relocationsAt('relocations', 'relocationsSize'),
    ...relocationsAt('pltRelocations', 'pltRelocationsSize'),
  ]

  const needs = find('versionNeeds')
  const versions =
    needs === undefined ? [] : readVersionNeeds(image.at('version needs', needs), strings, get('versionNeedsCount'))
  const symbols = readSymbols({
    image,
    strings,
    versions,
    address: get('symbols'),
    versionsAddress: find('symbolVersions'),
    count: Math.max(
      countSymbols(image, { hash: find('hash'), gnuHash: find('gnuHash') }),
      ...relocations.map((one) => one.symbols),
    ),
  })

  const [flags, flags1] = [find('flags') ?? 0, find('flags1') ?? 0]
  return {
    /** @type {string | undefined} */
    soname: texts([tags.soname])[0],
    libraries: texts(loading),
    runPaths: texts([tags.rpath, tags.runPath]),
    versions: versions.map(({ library, version }) => ({ library, version })),
    ...symbols,
    packedRelocations: entries.has(tags.packedRelocations),
    textRelocations:
      entries.has(tags.textRelocations) || has(flags, flagsOf.textRelocations) || relocations.some(({ text }) => text),
    bindNow: entries.has(tags.bindNow) || has(flags, flagsOf.bindNow) || has(flags1, flags1Of.bindNow),
    noDelete: has(flags1, flags1Of.noDelete),
    positionIndependentExecutable: has(flags1, flags1Of.positionIndependentExecutable),
  }
}
