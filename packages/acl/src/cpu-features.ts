import { readFileSync } from 'node:fs'

/** What Linux calls features that instruction sets name differently. */
const linuxNames: Record<string, string> = { neon: 'asimd', dotprod: 'asimddp', fp16: 'asimdhp' }

const relevant =
  'sse2 ssse3 sse4_1 avx f16c fma avx2 avx512f avx512bw avx512dq avx512vl avx512vbmi avx512_vnni asimd asimddp asimdhp i8mm sve sme'

/** Features that instruction sets may ask for and this CPU has, in Linux's words; undefined where the system does not tell. */
export function cpuFeatures(): readonly string[] | undefined {
  const flags = readFlags()
  return flags && relevant.split(' ').filter((name) => flags.has(plain(name)))
}

/** Which of the comma-separated features this CPU lacks; undefined where the system does not tell. */
export function missingFeatures(required: string): string[] | undefined {
  const flags = readFlags()
  const names = required.split(',').map((name) => name.trim())
  return flags && names.filter((name) => name !== '' && !flags.has(plain(linuxNames[name] ?? name)))
}

const plain = (name: string): string => name.toLowerCase().replace(/[_.-]/g, '')

function readFlags(): Set<string> | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))
    return line ? new Set(line[1]!.trim().split(/\s+/).map(plain)) : undefined
  } catch {
    return undefined
  }
}
