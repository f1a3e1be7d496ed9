import { readMachO } from './mach-o.mjs'
import { entries, isNodeApi } from './node-api.mjs'
import { exportRules, rule } from './rules.mjs'
import { compareVersions } from './versions.mjs'

const system = '/usr/lib/libSystem.B.dylib'
/** Part of every macOS; Apple's clang has no other. zig links its own, statically. */
const cxxLibrary = '/usr/lib/libc++.1.dylib'
/** Bytes of a page of memory on arm64. */
const page = 16384

/** @param {string} name as C has it */
const symbol = (name) => `_${name}`

/**
 * What zig's linker shows, which has no list of exports: its own symbols, C++'s allocation functions and the types of exceptions. All are
 * weak: dyld takes those of the process, whose allocation functions call malloc and free too.
 */
const shownByZig = /^(__mh_dylib_header|___dso_handle|__Z(nam|nwm|daPv|dlPv)\w*|__ZT[ISV]\w+)$/

/**
 * @param {import('./mach-o.mjs').MachO['imports'][number]} one
 * @param {'zig' | undefined} linker
 */
function isAllowed({ name, from }, linker) {
  if (name.startsWith('_') && isNodeApi(name.slice(1))) return from === 'dynamic lookup'
  // C++'s weak symbols have a definition in the file: dyld only asks whether another image's is to be taken.
  if (from === 'weak lookup') return name.startsWith('__Z')
  return from === system || (linker !== 'zig' && from === cxxLibrary)
}

/**
 * That everything in front of the signature is signed by its hashes alone, and that nothing follows it.
 * @param {import('./mach-o.mjs').MachO['signature']} signature
 * @param {number} size of the file
 */
function signatureRules(signature, size) {
  if (!signature) return [rule('a code signature', false, 'none')]
  const { directories, offset } = signature
  const end = offset + signature.size
  return [
    rule('an ad-hoc signature', signature.adHoc, 'another kind'),
    rule('the signature to end the file', end === size, `${size - end} bytes behind it`),
    rule(
      'hashes by SHA-256',
      directories.some((one) => one.hash === 'SHA-256'),
      directories.map((one) => one.hash).join(', ') || 'none',
    ),
    ...directories.flatMap(({ hash, codeLimit, changedPages, changedSlots }) => [
      rule(`${offset} signed bytes (${hash})`, codeLimit === offset, `${codeLimit}`),
      { expected: `pages as they were signed (${hash})`, received: changedPages.map((one) => `page ${one} changed`) },
      { expected: `slots as they were signed (${hash})`, received: changedSlots.map((one) => `slot ${one} changed`) },
    ]),
  ]
}

/**
 * An addon for macOS, and what is wrong with it.
 * @param {string} file
 * @param {Buffer} content
 * @param {{ cpu: string, version: string, linker?: 'zig' }} demanded the CPU, the oldest macOS, and what cannot hide and strip
 */
export function examineMacos(file, content, { cpu, version, linker }) {
  const binary = readMachO(file, content)
  const { installName, platforms, segments } = binary
  const library = binary.type === 'a dynamic library'
  const allowed = linker === 'zig' ? [system] : [system, cxxLibrary]
  return {
    facts: {
      format: 'Mach-O',
      needs: platforms.find(({ name }) => name === 'macOS')?.minimum,
      libraries: binary.libraries,
    },
    rules: [
      rule(`CPU ${cpu}`, binary.cpu === cpu, binary.cpu),
      {
        expected: 'platform macOS',
        received: platforms.length ? platforms.flatMap(({ name }) => (name === 'macOS' ? [] : [name])) : ['none'],
      },
      {
        expected: `macOS ${version} or older as the minimum`,
        received: platforms.flatMap(({ minimum }) => (compareVersions(minimum, version) > 0 ? [minimum] : [])),
      },
      library
        ? rule('an install name of @rpath/…', installName?.startsWith('@rpath/') ?? false, installName ?? 'none')
        : rule('no install name for a bundle', installName === undefined, `${installName}`),
      ...exportRules(
        binary.exports.filter((name) => linker !== 'zig' || !shownByZig.test(name)),
        entries.map(symbol),
      ),
      {
        expected: `undefined symbols of Node-API by dynamic lookup, others of ${allowed.join(' or ')}`,
        received: binary.imports.filter((one) => !isAllowed(one, linker)).map(({ name, from }) => `${name} (${from})`),
      },
      {
        expected: `no library but ${allowed.join(' and ')}`,
        received: binary.libraries.filter((name) => !allowed.includes(name)),
      },
      { expected: 'no run path (LC_RPATH)', received: binary.runPaths.map((value) => `'${value}'`) },
      {
        expected: 'no segment both writable and executable',
        received: segments.filter((one) => one.writable && one.executable).map(({ name }) => name),
      },
      {
        expected: `segments on pages of ${page} bytes`,
        received: segments
          .filter(({ address, offset, fileSize }) => address % page !== 0 || (fileSize > 0 && offset % page !== 0))
          .map(({ name }) => name),
      },
      rule(
        'no local symbols (strip -x removes them)',
        binary.localSymbols === 0 || linker === 'zig',
        `${binary.localSymbols}`,
      ),
      rule('no debug symbols (strip -S removes them)', binary.debugSymbols === 0, `${binary.debugSymbols}`),
      { expected: 'no debug information (strip -S removes it)', received: binary.debugSections },
      ...signatureRules(binary.signature, content.length),
    ],
  }
}
