import { readElf } from './elf.mjs'
import { entries, isNodeApi } from './node-api.mjs'
import { exportRules, rule } from './rules.mjs'
import { compareVersions } from './versions.mjs'

/** What glibc consists of, and what is on every Linux that has it. */
const glibc = /^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|librt\.so\.1|ld-linux-[\w-]+\.so\.\d+)$/
const glibcVersion = /^GLIBC_(\d+(?:\.\d+)+)$/
/** The first glibc that understands packed relocations. */
const packedRelocationsSince = '2.36'
/** What compilers and their libraries ask for in passing: profiling, transactions, pure virtual functions. */
const optional = /^(__gmon_start__|_ITM_\w+|_ZGTt\w+|__cxa_pure_virtual)$/
/** Bytes of the largest pages that Linux is run with. @type {Record<string, number>} */
const largestPages = { x64: 4096, arm64: 65536 }

/** @param {import('./elf.mjs').Elf} elf */
function glibcNeeded(elf) {
  const versions = elf.versions.flatMap(({ version }) => version.match(glibcVersion)?.[1] ?? [])
  if (elf.packedRelocations) versions.push(packedRelocationsSince)
  return versions.sort(compareVersions).at(-1)
}

/**
 * What the loader finds a symbol by.
 * @param {import('./elf-symbols.mjs').Import} one
 */
const isAllowed = ({ name, weak, library }) =>
  library === undefined ? isNodeApi(name) || (weak && optional.test(name)) : glibc.test(library)

/**
 * An addon for Linux, and what is wrong with it.
 * @param {string} file
 * @param {Buffer} content
 * @param {{ cpu: string, version: string }} demanded the CPU, and the oldest glibc
 */
export function examineLinux(file, content, { cpu, version }) {
  const elf = readElf(file, content)
  const tooNew = elf.versions
    .filter((need) => {
      const [, number] = need.version.match(glibcVersion) ?? []
      return number === undefined || compareVersions(number, version) > 0
    })
    .map((need) => {
      const using = elf.imports.filter((one) => one.library === need.library && one.version === need.version)
      return `${need.version} of ${need.library}${using.length ? ` (${using.map(({ name }) => name).join(' ')})` : ''}`
    })
  if (elf.packedRelocations && compareVersions(packedRelocationsSince, version) > 0)
    tooNew.push(`packed relocations (glibc ${packedRelocationsSince})`)
  return {
    facts: { format: 'ELF', needs: glibcNeeded(elf), libraries: elf.libraries },
    rules: [
      rule(`machine ${cpu}`, elf.machine === cpu, elf.machine),
      rule('a shared object', elf.type === 'a shared object', elf.type),
      ...exportRules(elf.exports, entries),
      {
        expected: 'undefined symbols of Node-API or glibc',
        received: elf.imports.filter((one) => !isAllowed(one)).map(({ name }) => name),
      },
      { expected: `versions of glibc up to ${version}`, received: tooNew },
      { expected: 'no libraries but those of glibc', received: elf.libraries.filter((name) => !glibc.test(name)) },
      { expected: 'no RPATH or RUNPATH', received: elf.runPaths.map((value) => `'${value}'`) },
      rule('a stack that is not executable', !elf.executableStack, 'an executable one'),
      rule('no text relocations', !elf.textRelocations, 'some'),
      rule('full protection of relocated data (-z relro -z now)', elf.relro === 'full', elf.relro),
      // Node.js closes it with the last environment that loaded it; its destructors are to run at exit.
      rule('a library that stays loaded (-z nodelete)', elf.noDelete, 'one that dlclose unloads'),
      rule('no segment both writable and executable', !elf.writableCode, 'one'),
      rule(
        `segments for pages of ${largestPages[cpu]} bytes`,
        elf.pageSize % largestPages[cpu] === 0,
        `for ${elf.pageSize}`,
      ),
      rule('no symbol table (strip removes it)', !elf.symbolTable, '.symtab'),
      { expected: 'no debug information (strip removes it)', received: elf.debugSections },
    ],
  }
}
