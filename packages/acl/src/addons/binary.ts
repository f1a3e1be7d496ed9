import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { firstLine } from '../checks/describe.js'
import type { Refusal } from './examine.js'
import type { AddonEntry } from './manifest.js'
import { isDenied } from './obstacles.js'

/**
 * Why a file is not the binary that its entry tells of, as far as can be seen without reading it whole. A library that was cut short ends
 * the process that loads it, and anything but a library would be executed by another loader of Node.js.
 */
export function refusalOfFile(path: string, entry: AddonEntry, platform: string): Refusal | undefined {
  try {
    const status = statSync(path)
    if (!status.isFile()) return { cause: 'file', reason: 'no file' }
    // Not more: who ships an application signs the binaries in it anew.
    if (status.size < entry.size) {
      return { cause: 'damaged', reason: `damaged: ${status.size} bytes of ${entry.size}` }
    }
    if (isLibrary(firstBytes(path), platform)) return undefined
    return { cause: 'damaged', reason: `no shared library for ${platform}` }
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    return { cause: isDenied(error) ? 'unreadable' : 'file', reason: isMissing ? 'no such file' : firstLine(error) }
  }
}

function firstBytes(path: string): Buffer {
  const bytes = Buffer.alloc(4096)
  const file = openSync(path, 'r')
  try {
    return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0))
  } finally {
    closeSync(file)
  }
}

/** As the formats number them, of the platforms that they are known for here. */
const elfMachines: Record<string, number> = { x64: 62, arm64: 183 }
const machCpus: Record<string, number> = { x64: 0x1000007, arm64: 0x100000c }

function isLibrary(bytes: Buffer, platform: string): boolean {
  const [os, arch = ''] = platform.split('-')
  if (bytes.length < 64) return false
  if (os === 'darwin') return isMachLibrary(bytes, machCpus[arch])
  return os === 'win32' ? bytes.toString('latin1', 0, 2) === 'MZ' : isElfLibrary(bytes, elfMachines[arch])
}

const elfLibrary = 3

function isElfLibrary(bytes: Buffer, machine: number | undefined): boolean {
  if (bytes.toString('latin1', 0, 4) !== '\x7fELF') return false
  return machine === undefined || (bytes.readUInt16LE(16) === elfLibrary && bytes.readUInt16LE(18) === machine)
}

const machLibraries = [6, 8] // dynamic library, bundle

/** Of one processor, or of several (universal), of which one is this. */
function isMachLibrary(bytes: Buffer, cpu: number | undefined): boolean {
  if (bytes.readUInt32LE(0) === 0xfeedfacf) {
    return bytes.readUInt32LE(4) === cpu && machLibraries.includes(bytes.readUInt32LE(12))
  }
  if (bytes.readUInt32BE(0) !== 0xcafebabe) return false
  const count = Math.min(bytes.readUInt32BE(4), Math.floor((bytes.length - 8) / 20))
  return Array.from({ length: count }, (_, i) => bytes.readUInt32BE(8 + 20 * i)).includes(cpu ?? -1)
}
