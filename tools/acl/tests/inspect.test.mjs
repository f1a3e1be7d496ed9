import { statSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { membersOf } from '../archive.mjs'
import { checkLibrary, kindOf } from '../inspect.mjs'
import { temporary } from './support/checkout.mjs'

function machO({ type = 0x0100000c, platform = 1, version = (11 << 16) | (0 << 8), before = 0 } = {}) {
  const object = Buffer.alloc(128)
  object.writeUInt32LE(0xfeedfacf, 0)
  object.writeUInt32LE(type, 4)
  object.writeUInt32LE(2, 16)
  let at = 32
  if (before) {
    object.writeUInt32LE(0x19, at)
    object.writeUInt32LE(before, at + 4)
    at += before
  }
  object.writeUInt32LE(0x32, at)
  object.writeUInt32LE(24, at + 4)
  object.writeUInt32LE(platform, at + 8)
  object.writeUInt32LE(version, at + 12)
  return object
}

/** A library in BSD's format, with an index and long names. @param {Record<string, Buffer>} members */
function bsd(members) {
  const file = path.join(temporary(), 'library.a')
  const parts = [Buffer.from('!<arch>\n')]
  for (const [name, content] of Object.entries({ '__.SYMDEF': Buffer.alloc(4), ...members })) {
    const long = Buffer.from(name.padEnd(24, '\0'))
    const length = long.length + content.length
    const fields = [`#1/${long.length}`.padEnd(16), '0'.padEnd(12), '0'.padEnd(6), '0'.padEnd(6), '644'.padEnd(8)]
    parts.push(Buffer.from(`${fields.join('')}${`${length}`.padEnd(10)}\`\n`), long, content)
    if (length % 2) parts.push(Buffer.from('\n'))
  }
  writeFileSync(file, Buffer.concat(parts))
  return file
}

test('Mach-O: machine, platform and oldest macOS, wherever its load command is', () => {
  const system = { platform: 1, major: 11, minor: 0 }
  expect(kindOf(machO())).toEqual({ format: 'Mach-O', machine: 'arm64', system })
  expect(kindOf(machO({ before: 40 })).system).toEqual(system)
  expect(kindOf(machO({ type: 0x01000007 })).machine).toBe('CPU type 16777223')
})

test('a library for macOS is taken when every object is for arm64 and no newer macOS', async () => {
  expect(
    await checkLibrary(bsd({ 'a.o': machO(), 'a much longer name.o': machO({ before: 40 }) }), 'darwin-arm64', '11.0'),
  ).toBe(2)
  const refused = (object) => checkLibrary(bsd({ 'a.o': machO(), 'b.o': object }), 'darwin-arm64', '11.0')
  await expect(refused(machO({ type: 0x01000007 }))).rejects.toThrow('b.o: expected Mach-O for arm64')
  await expect(refused(machO({ version: (11 << 16) | (1 << 8) }))).rejects.toThrow(
    'expected macOS 11.0 or older, received 11.1',
  )
  await expect(refused(machO({ platform: 2 }))).rejects.toThrow('received platform 2')
  await expect(refused(Buffer.from('BC\xc0\xde', 'latin1'))).rejects.toThrow('received unknown')
  await expect(checkLibrary(bsd({}), 'darwin-arm64', '11.0')).rejects.toThrow('received an empty library')
})

test('a library that is cut off, and what is no library, are refused', async () => {
  const file = bsd({ 'a.o': machO() })
  truncateSync(file, statSync(file).size - 20)
  await expect(checkLibrary(file, 'darwin-arm64', '11.0')).rejects.toThrow('cut off')
  writeFileSync(file, 'text')
  await expect(checkLibrary(file, 'darwin-arm64', '11.0')).rejects.toThrow('expected a static library')
})

test('members have their names, without those that are the index', async () => {
  const names = []
  for await (const { name } of membersOf(bsd({ 'a.o': machO(), 'b.o': Buffer.alloc(3) }))) names.push(name)
  expect(names).toEqual(['a.o', 'b.o'])
})
