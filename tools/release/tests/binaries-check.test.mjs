import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Problem } from '../../acl/problem.mjs'
import { checkAddon, sizeLimit } from '../binaries/check.mjs'
import { summaryOf } from '../binaries/summary.mjs'
import { doctored } from './support/binaries-layout.mjs'
import { elfFile, machines } from './support/elf-file.mjs'
import { commandTypes, from, machOFile, system } from './support/mach-o-file.mjs'

let directory = ''
let file = ''
beforeAll(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'intattn-binaries-'))
  file = path.join(directory, 'intattn.node')
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const linux = { platform: 'linux-x64', system: { name: 'glibc', version: '2.28' } }
const macos = { platform: 'darwin-arm64', system: { name: 'macOS', version: '11.0' } }

function check(content, demanded) {
  writeFileSync(file, content)
  return checkAddon(file, demanded)
}

/** What is wrong, without the file's name, which begins every line. */
async function wrong(content, demanded) {
  const error = await check(content, demanded).then(
    () => undefined,
    (error) => error,
  )
  expect(error).toBeInstanceOf(Problem)
  return error.message.split('\n').map((line) => {
    expect(line.startsWith(`${file}: `)).toBe(true)
    return line.slice(file.length + 2)
  })
}

const [entry, otherEntry] = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
const glibc = (name, version, library = 'libc.so.6') => ({ name, library, version: `GLIBC_${version}` })

describe('an addon for Linux', () => {
  it.each([
    ['linux-x64', machines.x64],
    ['linux-arm64', machines.arm64],
  ])('is taken: %s', async (platform, machine) => {
    const { content } = elfFile({ machine })
    expect(await check(content, { ...linux, platform })).toEqual({
      ...{ name: 'intattn.node', platform, format: 'ELF', size: content.length, system: linux.system, needs: '2.27' },
      libraries: ['libm.so.6', 'libc.so.6'],
    })
  })

  it.each([
    [
      'all that glibc consists of',
      {
        libraries: [
          'libc.so.6',
          'libm.so.6',
          'libpthread.so.0',
          'libdl.so.2',
          'librt.so.1',
          'ld-linux-x86-64.so.2',
          'ld-linux-aarch64.so.1',
        ],
      },
    ],
    ['the very version of glibc', { imports: [glibc('pow', '2.28', 'libm.so.6')] }],
    ['an older version with a larger number behind it', { imports: [glibc('free', '2.2.99')] }],
    [
      'what compilers ask for in passing',
      {
        imports: ['__gmon_start__', '_ITM_registerTMCloneTable', '_ZGTtdlPv', '__cxa_pure_virtual'].map((name) => ({
          name,
          weak: true,
        })),
      },
    ],
    [
      'every Node-API function',
      { imports: [{ name: 'napi_wrap' }, { name: 'node_api_get_module_file_name', weak: true }] },
    ],
    ['no section headers', { sections: null }],
  ])('is taken with %s', async (_, changes) => {
    await expect(check(elfFile(changes).content, linux)).resolves.toBeDefined()
  })

  it.each([
    ['another machine', { machine: machines.arm64 }, 'expected machine x64, received arm64'],
    ['an executable', { flags1: 0x08000009 }, 'expected a shared object, received an executable'],
    [
      'one more export',
      { exports: [entry, otherEntry, 'malloc'] },
      `expected no exports but ${entry} and ${otherEntry}, received malloc`,
    ],
    ['a missing entry', { exports: [entry] }, `expected the export ${otherEntry}, received none of that name`],
    ['the other entry missing', { exports: [otherEntry] }, `expected the export ${entry}, received none of that name`],
    [
      'an undefined symbol of nobody',
      { imports: [{ name: 'cblas_sgemm' }] },
      'expected undefined symbols of Node-API or glibc, received cblas_sgemm',
    ],
    [
      'an undefined symbol that looks like a Node-API function',
      { imports: [{ name: 'napi' }, { name: '_napi_wrap' }] },
      'expected undefined symbols of Node-API or glibc, received napi, _napi_wrap',
    ],
    [
      'a weak symbol that nobody knows',
      { imports: [{ name: 'MKL_Set_Num_Threads', weak: true }] },
      'expected undefined symbols of Node-API or glibc, received MKL_Set_Num_Threads',
    ],
    [
      'a symbol of glibc without its version',
      { imports: [{ name: 'malloc' }] },
      'expected undefined symbols of Node-API or glibc, received malloc',
    ],
    [
      'a newer glibc',
      { imports: [glibc('pthread_create', '2.34'), glibc('pthread_join', '2.34')] },
      'expected versions of glibc up to 2.28, received GLIBC_2.34 of libc.so.6 (pthread_create pthread_join)',
    ],
    [
      'a newer glibc that no symbol needs',
      { versions: [{ library: 'libm.so.6', version: 'GLIBC_2.29' }] },
      'expected versions of glibc up to 2.28, received GLIBC_2.29 of libm.so.6',
    ],
    [
      "glibc's private symbols",
      { versions: [{ library: 'libc.so.6', version: 'GLIBC_PRIVATE' }] },
      'expected versions of glibc up to 2.28, received GLIBC_PRIVATE of libc.so.6',
    ],
    [
      'packed relocations',
      { entries: [[36, 0]] },
      'expected versions of glibc up to 2.28, received packed relocations (glibc 2.36)',
    ],
    [
      'one more library',
      { libraries: ['libc.so.6', 'libgomp.so.1'] },
      'expected no libraries but those of glibc, received libgomp.so.1',
    ],
    [
      "musl's C library",
      { libraries: ['libc.musl-x86_64.so.1'] },
      'expected no libraries but those of glibc, received libc.musl-x86_64.so.1',
    ],
    [
      'a library that begins like one of glibc',
      { libraries: ['libc.so.6.1', 'libm.so'] },
      'expected no libraries but those of glibc, received libc.so.6.1, libm.so',
    ],
    ['RPATH', { texts: { RPATH: '/opt/lib' } }, "expected no RPATH or RUNPATH, received '/opt/lib'"],
    ['an empty RUNPATH', { texts: { RUNPATH: '' } }, "expected no RPATH or RUNPATH, received ''"],
    ['an executable stack', { stack: 7 }, 'expected a stack that is not executable, received an executable one'],
    ['no word about the stack', { stack: null }, 'expected a stack that is not executable, received an executable one'],
    ['text relocations', { flags: 12 }, 'expected no text relocations, received some'],
    [
      'code that can be written to',
      { access: [7, 6] },
      'expected no segment both writable and executable, received one',
    ],
    [
      'binding at first use',
      { flags: 0, flags1: 8 },
      'expected full protection of relocated data (-z relro -z now), received partial',
    ],
    [
      'relocated data that can be written to',
      { relro: false },
      'expected full protection of relocated data (-z relro -z now), received none',
    ],
    [
      'being unloaded',
      { flags1: 1 },
      'expected a library that stays loaded (-z nodelete), received one that dlclose unloads',
    ],
    ['pages too small', { alignment: 16 }, 'expected segments for pages of 4096 bytes, received for 16'],
    [
      'its symbol table',
      {
        sections: [
          ['.shstrtab', 3],
          ['.symtab', 2],
        ],
      },
      'expected no symbol table (strip removes it), received .symtab',
    ],
    [
      'debug information',
      {
        sections: [
          ['.shstrtab', 3],
          ['.debug_info', 1],
          ['.debug_line', 1],
        ],
      },
      'expected no debug information (strip removes it), received .debug_info, .debug_line',
    ],
  ])('is refused for %s', async (_, changes, line) => {
    expect(await wrong(elfFile(changes).content, linux)).toEqual([line])
  })

  it('is refused for the C++ runtime, library, version and all', async () => {
    const imports = [{ name: '_ZSt4cout', library: 'libstdc++.so.6', version: 'GLIBCXX_3.4' }]
    expect(
      await wrong(elfFile({ imports, libraries: ['libstdc++.so.6', 'libc.so.6', 'libgcc_s.so.1'] }).content, linux),
    ).toEqual([
      'expected undefined symbols of Node-API or glibc, received _ZSt4cout',
      'expected versions of glibc up to 2.28, received GLIBCXX_3.4 of libstdc++.so.6 (_ZSt4cout)',
      'expected no libraries but those of glibc, received libstdc++.so.6, libgcc_s.so.1',
    ])
  })

  it('for arm64 is loaded to pages of 64 KiB', async () => {
    const { content } = elfFile({ machine: machines.arm64, alignment: 4096 })
    expect(await wrong(content, { ...linux, platform: 'linux-arm64' })).toEqual([
      'expected segments for pages of 65536 bytes, received for 4096',
    ])
  })

  it('is refused for everything at once, and names are not listed without end', async () => {
    const exported = Array.from({ length: 20 }, (_, i) => `f${i}`)
    const lines = await wrong(
      elfFile({ machine: machines.arm64, exports: [entry, ...exported], libraries: ['libgcc_s.so.1'], stack: 7 })
        .content,
      linux,
    )
    expect(lines).toEqual([
      'expected machine x64, received arm64',
      `expected no exports but ${entry} and ${otherEntry}, received f0, f1, f2, f3, f4, f5, f6, f7 and 12 more`,
      `expected the export ${otherEntry}, received none of that name`,
      'expected no libraries but those of glibc, received libgcc_s.so.1',
      'expected a stack that is not executable, received an executable one',
    ])
  })
})

describe('an addon for macOS', () => {
  const [symbol, otherSymbol] = [`_${entry}`, `_${otherEntry}`]
  const cxxLibrary = '/usr/lib/libc++.1.dylib'
  const undefinedSymbols = (received) =>
    `expected undefined symbols of Node-API by dynamic lookup, others of ${system} or ${cxxLibrary}, received ${received}`

  it('is taken', async () => {
    const { content } = machOFile()
    expect(await check(content, macos)).toEqual({
      ...{ name: 'intattn.node', platform: 'darwin-arm64', format: 'Mach-O', size: content.length },
      ...{ system: macos.system, needs: '11.0', libraries: [system] },
    })
  })

  it.each([
    ['chained fixups', { binding: 'chained' }],
    ['a bundle', { fileType: 8, installName: null }],
    ['an older minimum', { platforms: [[commandTypes.build, 1, 0x0a0f00, 0, 0]] }],
    ['the minimum of older linkers', { platforms: [[commandTypes.versionMinimum, 0x0b0000, 0x0b0000]] }],
    ['a signature for older systems too', { signature: { hashTypes: [1, 2] } }],
    ["a signature of codesign's", { signature: { flags: 2 } }],
  ])('is taken with %s', async (_, changes) => {
    await expect(check(machOFile(changes).content, macos)).resolves.toBeDefined()
  })

  it.each([
    ['another CPU', { cpu: 0x01000007 }, 'expected CPU arm64, received x64'],
    ["the CPU of Apple's own programs", { subtype: 2 }, 'expected CPU arm64, received arm64e'],
    [
      'a newer macOS',
      { platforms: [[commandTypes.build, 1, 0x0e0200, 0, 0]] },
      'expected macOS 11.0 or older as the minimum, received 14.2',
    ],
    [
      'a newer macOS of older linkers',
      { platforms: [[commandTypes.versionMinimum, 0x0b0001, 0]] },
      'expected macOS 11.0 or older as the minimum, received 11.0.1',
    ],
    ['iOS', { platforms: [[commandTypes.build, 2, 0x0b0000, 0, 0]] }, 'expected platform macOS, received iOS'],
    [
      'Mac Catalyst beside macOS',
      {
        platforms: [
          [commandTypes.build, 1, 0x0b0000, 0, 0],
          [commandTypes.build, 6, 0x0b0000, 0, 0],
        ],
      },
      'expected platform macOS, received Mac Catalyst',
    ],
    ['no platform', { platforms: [] }, 'expected platform macOS, received none'],
    [
      'an absolute install name',
      { installName: '/opt/build/intattn.node' },
      'expected an install name of @rpath/…, received /opt/build/intattn.node',
    ],
    ['no install name', { installName: null }, 'expected an install name of @rpath/…, received none'],
    [
      'a bundle with an install name',
      { fileType: 8 },
      'expected no install name for a bundle, received @rpath/intattn.node',
    ],
    [
      'one more export',
      { exports: [symbol, otherSymbol, '__Znwm'] },
      `expected no exports but ${symbol} and ${otherSymbol}, received __Znwm`,
    ],
    ['a missing entry', { exports: [symbol] }, `expected the export ${otherSymbol}, received none of that name`],
    [
      'one more library',
      { libraries: [system, '/usr/lib/libobjc.A.dylib'].map((name) => ({ type: commandTypes.library, name })) },
      `expected no library but ${system} and ${cxxLibrary}, received /usr/lib/libobjc.A.dylib`,
    ],
    [
      'one more library that may be missing',
      {
        libraries: [
          { type: commandTypes.library, name: system },
          { type: commandTypes.weakLibrary, name: '@rpath/libomp.dylib' },
        ],
      },
      `expected no library but ${system} and ${cxxLibrary}, received @rpath/libomp.dylib`,
    ],
    ['a run path', { runPaths: ['@loader_path/lib'] }, "expected no run path (LC_RPATH), received '@loader_path/lib'"],
    [
      'an undefined symbol that may be anywhere',
      { imports: [{ name: '_cblas_sgemm', ordinal: from.dynamicLookup }] },
      undefinedSymbols('_cblas_sgemm (dynamic lookup)'),
    ],
    [
      'the same, by chained fixups',
      { binding: 'chained', imports: [{ name: '_malloc', ordinal: from.dynamicLookup }] },
      undefinedSymbols('_malloc (dynamic lookup)'),
    ],
    [
      'a flat namespace',
      { binding: 'symbols', flags: 0x05 },
      undefinedSymbols('_malloc (dynamic lookup), _free (dynamic lookup)'),
    ],
    [
      'a definition that any library may replace',
      { imports: [{ name: '_malloc', ordinal: from.weakLookup }] },
      undefinedSymbols('_malloc (weak lookup)'),
    ],
    [
      'Node-API of the executable',
      { imports: [{ name: '_napi_wrap', ordinal: from.executable }] },
      undefinedSymbols('_napi_wrap (the executable)'),
    ],
    [
      'Node-API of the system',
      { imports: [{ name: '_napi_wrap', ordinal: 1 }] },
      undefinedSymbols(`_napi_wrap (${system})`),
    ],
    [
      'Node-API without its underscore',
      { imports: [{ name: 'napi_wrap', ordinal: from.dynamicLookup }] },
      undefinedSymbols('napi_wrap (dynamic lookup)'),
    ],
    [
      'code that can be written to',
      { moreSegments: [['__JIT', 7, []]] },
      'expected no segment both writable and executable, received __JIT',
    ],
    [
      'local symbols',
      { moreSymbols: [[0x0e, '_local']] },
      'expected no local symbols (strip -x removes them), received 1',
    ],
    [
      'debug symbols',
      {
        moreSymbols: [
          [0x64, 'a.cc'],
          [0x24, '_f'],
        ],
      },
      'expected no debug symbols (strip -S removes them), received 2',
    ],
    [
      'debug information',
      { moreSegments: [['__DWARF', 1, ['__debug_info']]] },
      'expected no debug information (strip -S removes it), received __debug_info',
    ],
    ['no signature', { signature: null }, 'expected a code signature, received none'],
    ['another signature', { signature: { flags: 0 } }, 'expected an ad-hoc signature, received another kind'],
    ['a signature by SHA-1 alone', { signature: { hashTypes: [1] } }, 'expected hashes by SHA-256, received SHA-1'],
  ])('is refused for %s', async (_, changes, line) => {
    expect(await wrong(machOFile(changes).content, macos)).toEqual([line])
  })

  it("is taken with the system's C++ library from clang's linker, and refused with it from zig's", async () => {
    const made = machOFile({
      libraries: [system, cxxLibrary].map((name) => ({ type: commandTypes.library, name })),
      imports: [
        { name: '__ZNSt3__15mutex4lockEv', ordinal: 2 },
        { name: '__Znwm', ordinal: from.weakLookup },
      ],
    }).content
    await expect(check(made, macos)).resolves.toMatchObject({ libraries: [system, cxxLibrary] })
    expect(await wrong(made, { ...macos, linker: 'zig' })).toContain(
      `expected no library but ${system}, received ${cxxLibrary}`,
    )
  })

  it("is taken from zig's linker with what that cannot hide, and with nothing else", async () => {
    const left = {
      exports: [symbol, otherSymbol, '__Znwm', '__ZdlPvm', '___dso_handle', '__mh_dylib_header'],
      imports: [{ name: '__ZTIN4Napi5ErrorE', ordinal: from.weakLookup }],
      moreSymbols: [[0x0e, '_local']],
    }
    await expect(check(machOFile(left).content, { ...macos, linker: 'zig' })).resolves.toBeDefined()
    expect(await wrong(machOFile(left).content, macos)).toHaveLength(2)
    const more = {
      exports: [...left.exports, '_helper'],
      imports: [...left.imports, { name: '_cblas_sgemm', ordinal: from.weakLookup }],
    }
    expect(await wrong(machOFile({ ...left, ...more }).content, { ...macos, linker: 'zig' })).toEqual([
      `expected no exports but ${symbol} and ${otherSymbol}, received _helper`,
      undefinedSymbols('_cblas_sgemm (weak lookup)').replace(` or ${cxxLibrary}`, ''),
    ])
  })

  it('is refused for an entry without its underscore', async () => {
    expect(await wrong(machOFile({ exports: [symbol, otherEntry] }).content, macos)).toEqual([
      `expected no exports but ${symbol} and ${otherSymbol}, received ${otherEntry}`,
      `expected the export ${otherSymbol}, received none of that name`,
    ])
  })

  it('is refused for code that is not signed', async () => {
    const { content, at } = machOFile({ signature: { left: 5000 } })
    expect(await wrong(content, macos)).toEqual([
      `expected ${at.signature} signed bytes (SHA-256), received ${at.signature - 5000}`,
    ])
  })

  it('is refused for a change after it was signed, in the code and in what the linker knows', async () => {
    const { content, at } = machOFile()
    for (const [place, page] of [
      [at.code, 3],
      [at.names + 1, 4],
    ]) {
      const lines = await wrong(doctored(content, place, Buffer.from('X')), macos)
      expect(lines).toContain(`expected pages as they were signed (SHA-256), received page ${page} changed`)
    }
  })

  it('is refused for what follows the signature', async () => {
    const { content } = machOFile()
    expect(await wrong(Buffer.concat([content, Buffer.alloc(3)]), macos)).toEqual([
      'expected the signature to end the file, received 3 bytes behind it',
    ])
  })

  it('is refused for segments that do not fit its pages', async () => {
    const { content } = machOFile({ signature: null })
    const moved = doctored(content, 32 + 152 + 24, Buffer.from([0, 0x50]))
    expect(await wrong(moved, macos)).toEqual([
      'expected segments on pages of 16384 bytes, received __LINKEDIT',
      'expected a code signature, received none',
    ])
  })
})

describe('every addon', { timeout: 60_000 }, () => {
  it.each([
    ['Linux', (code) => elfFile({ code }).content, linux],
    ['macOS', (code) => machOFile({ code }).content, macos],
  ])('is refused for paths of the machine that made it: %s', async (_, made, demanded) => {
    const code = 'assert\0/home/me/intattn/a.cc\0-I/Users/me/include\0/ci/work/b.cc\0/usr/lib\0/home\0'
    const line = 'expected no path of the machine that made it, received'
    expect(await wrong(made(code), demanded)).toEqual([`${line} /home/me/intattn/a.cc, /Users/me/include`])
    expect(await wrong(made(code), { ...demanded, forbidden: ['/ci/work/'] })).toEqual([
      `${line} /home/me/intattn/a.cc, /Users/me/include, /ci/work/b.cc`,
    ])
    expect(await wrong(made(`/tmp/${'\x07y'.repeat(500)}`), demanded)).toEqual([
      `${line} /tmp/${'\\x07y'.repeat(97)}\\x07`,
    ])
    await expect(check(made('/ci/work/b.cc\0'), demanded)).resolves.toBeDefined()
  })

  it.each([
    ['Linux', (size) => elfFile({ code: 'x'.repeat(size) }).content, linux],
    ['macOS', (size) => Buffer.concat([machOFile().content, Buffer.alloc(size)]), macos],
  ])('is refused for its size: %s', async (_, made, demanded) => {
    expect(sizeLimit).toBe(6_000_000)
    const content = made(sizeLimit)
    expect(await wrong(content, demanded)).toContain(`expected at most 6000000 bytes, received ${content.length}`)
  })

  it('may be as large as the limit', async () => {
    const empty = elfFile({ code: '' }).content.length
    const content = elfFile({ code: 'x'.repeat((sizeLimit - empty) & ~7) }).content
    expect(sizeLimit - content.length).toBeLessThan(8)
    await expect(check(content, linux)).resolves.toBeDefined()
  })

  it('is a file, and of the format of its platform', async () => {
    const missing = path.join(directory, 'missing.node')
    await expect(checkAddon(missing, linux)).rejects.toThrow(`${missing}: expected an addon, received no file`)
    await expect(checkAddon(path.join(missing, 'x'), linux)).rejects.toThrow('received no file')
    await expect(checkAddon(directory, linux)).rejects.toThrow('expected an addon, received what is not a file')
    expect(await wrong(machOFile().content, linux)).toEqual([
      'the file: expected an ELF file, received Mach-O for arm64',
    ])
    expect(await wrong(elfFile().content, macos)).toEqual([
      'the file: expected a Mach-O file of 64 bits for one CPU, received ELF for machine 62',
    ])
    expect(await wrong('', linux)).toEqual(['the file: expected an ELF file, received another kind of file'])
  })

  it.skipIf(process.platform === 'win32')(
    'is not waited for where it is a pipe, nor read where it is endless',
    async () => {
      const pipe = path.join(directory, 'pipe')
      execFileSync('mkfifo', [pipe])
      await expect(checkAddon(pipe, linux)).rejects.toThrow('expected an addon, received what is not a file')
      const huge = path.join(directory, 'huge.node')
      writeFileSync(huge, '')
      truncateSync(huge, 2 ** 34)
      await expect(checkAddon(huge, linux)).rejects.toThrow('expected at most 6000000 bytes, received 17179869184')
    },
  )

  it('is cut off nowhere', async () => {
    for (const [{ content }, demanded] of [
      [elfFile(), linux],
      [machOFile(), macos],
    ])
      for (const length of [1, 64, 1000, content.length - 1])
        await expect(check(content.subarray(0, length), demanded)).rejects.toThrow(Problem)
  })

  it.each([
    [
      { ...linux, platform: 'win32-x64' },
      'platform: expected one of darwin-arm64, linux-arm64, linux-x64, received win32-x64',
    ],
    [{ ...linux, platform: 'constructor' }, 'received constructor'],
    [{ ...linux, system: macos.system }, 'system: expected glibc and its version, received macOS 11.0'],
    [{ ...macos, system: linux.system }, 'system: expected macOS and its version, received glibc 2.28'],
    [
      { ...linux, system: { name: 'glibc', version: 'newest' } },
      'system: expected glibc and its version, received glibc newest',
    ],
    [{ ...linux, forbidden: ['/ci/', ''] }, "forbidden: expected beginnings of absolute paths, received ''"],
    [{ ...linux, forbidden: ['/'] }, "forbidden: expected beginnings of absolute paths, received '/'"],
  ])('is checked only for what is known: %j', async (demanded, message) => {
    await expect(check(elfFile().content, demanded)).rejects.toThrow(message)
  })

  it('has its facts in one line', async () => {
    expect(summaryOf(await check(elfFile({ code: 'x'.repeat(1_100_000) }).content, linux))).toBe(
      'intattn.node  linux-x64  1.1 MB  glibc 2.28 (needs 2.27)  libm.so.6 libc.so.6',
    )
    expect(summaryOf(await check(machOFile().content, macos))).toBe(
      'intattn.node  darwin-arm64  0.0 MB  macOS 11.0 (needs 11.0)  libSystem.B.dylib',
    )
    const imports = [{ name: 'napi_wrap' }]
    expect(summaryOf(await check(elfFile({ imports, libraries: [] }).content, linux))).toBe(
      'intattn.node  linux-x64  0.0 MB  glibc 2.28  no libraries',
    )
  })
})
