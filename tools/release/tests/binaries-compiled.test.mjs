import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { checkAddon } from '../binaries/check.mjs'
import { readMachO } from '../binaries/mach-o.mjs'
import { findCompilers, workshop } from './support/binaries-compilers.mjs'

const compilers = await findCompilers()
const { compile, remove } = workshop()
afterAll(remove)

const systems = {
  'linux-x64': { name: 'glibc', version: '2.28' },
  'linux-arm64': { name: 'glibc', version: '2.28' },
  'darwin-arm64': { name: 'macOS', version: '11.0' },
}

const linuxRefusals = [
  ['one more export', { without: /version-script/ }, 'received visible'],
  ['its symbol table', { without: /^-s$/ }, 'expected no symbol table (strip removes it), received .symtab'],
  ['debug information', { without: /^-s$/, more: ['-g'] }, 'received .debug_'],
  ['an executable stack', { more: ['-Wl,-z,execstack'] }, 'expected a stack that is not executable'],
  ['binding at first use', { without: /-z,now/, more: ['-Wl,-z,lazy'] }, '(-z relro -z now), received partial'],
  ['being unloaded', { without: /-z,nodelete/ }, 'expected a library that stays loaded (-z nodelete)'],
  ['a run path', { more: ['-Wl,-rpath,$ORIGIN/lib'] }, "expected no RPATH or RUNPATH, received '$ORIGIN/lib'"],
  ['an undefined symbol', { more: ['-DMISSING'] }, 'expected undefined symbols of Node-API or glibc, received missing'],
  ['text relocations', { more: ['-DRELOCATED', '-Wl,-z,notext'] }, 'expected no text relocations, received some'],
  ['a path of this machine', { more: ['-DPATHS'] }, 'received /home/me/intattn/addon.c'],
]

const macosRefusals = [
  ['one more export', { without: /exported_symbols_list/ }, 'received _visible'],
  ['its local symbols', { without: /^-Wl,-x$/ }, 'expected no local symbols (strip -x removes them)'],
  [
    'a newer macOS',
    { more: ['-mmacosx-version-min=12.3'] },
    'expected macOS 11.0 or older as the minimum, received 12.3',
  ],
  ['an absolute install name', { more: ['-install_name', '/opt/a.node'] }, '@rpath/…, received /opt/a.node'],
  ['a run path', { more: ['-Wl,-rpath,/opt/lib'] }, "expected no run path (LC_RPATH), received '/opt/lib'"],
  ['an undefined symbol', { more: ['-DMISSING'] }, 'received _missing (dynamic lookup)'],
  ['no signature', { more: ['-Wl,-no_adhoc_codesign'] }, 'expected a code signature, received none'],
  ['a path of this machine', { more: ['-DPATHS'] }, 'received /home/me/intattn/addon.c'],
]

for (const compiler of compilers)
  describe.skipIf(!compiler.command)(`an addon for ${compiler.name}`, { timeout: 240_000 }, () => {
    const { platform, kind } = compiler
    const macos = platform === 'darwin-arm64'
    const demanded = { platform, system: systems[platform] }
    /** @param {Parameters<typeof compile>[1]} [changes] */
    const check = async (changes, more) => checkAddon(await compile(compiler, changes), { ...demanded, ...more })

    // What zig links for macOS exports more than it should.
    if (!(macos && kind === 'zig'))
      it('is taken', async () => {
        const { libraries } = await check()
        expect(libraries).toContain(macos ? '/usr/lib/libSystem.B.dylib' : 'libc.so.6')
      })

    if (kind !== 'zig')
      it.each(macos ? macosRefusals : linuxRefusals)('is refused for %s', async (_, changes, message) => {
        await expect(check(changes)).rejects.toThrow(message)
      })

    if (!macos)
      it('is refused for a glibc older than it needs', async () => {
        const system = { name: 'glibc', version: '2.2' }
        await expect(check({}, { system })).rejects.toThrow(/expected versions of glibc up to 2\.2, received .*malloc/)
      })

    if (macos)
      it('is signed, and knows where its symbols come from', async () => {
        const file = await compile(compiler)
        const content = readFileSync(file)
        const { imports, signature } = readMachO(file, content)
        expect(signature).toMatchObject({ adHoc: true, directories: [{ hash: 'SHA-256', changedPages: [] }] })
        expect(imports).toContainEqual({ name: '_napi_create_double', from: 'dynamic lookup' })
        expect(imports).toContainEqual({ name: '_malloc', from: '/usr/lib/libSystem.B.dylib' })
        content[content.indexOf('__LINKEDIT')] ^= 1
        expect(readMachO(file, content).signature.directories[0].changedPages).toEqual([0])
      })

    if (kind === 'clang')
      it('is taken as a bundle, and with chained fixups', async () => {
        const bundle = { without: /^(-dynamiclib|-install_name|@rpath\/.*)$/, more: ['-bundle'] }
        await expect(check(bundle)).resolves.toBeDefined()
        await expect(check({ more: ['-Wl,-fixup_chains'] })).resolves.toBeDefined()
      })

    it('is refused wherever it is cut off', async () => {
      const file = await compile(compiler)
      const content = readFileSync(file)
      for (let i = 0; i < 40; i += 1) {
        writeFileSync(file, content.subarray(0, Math.floor((content.length * i) / 40)))
        await expect(checkAddon(file, demanded)).rejects.toThrow(`${file}: `)
      }
    })
  })
