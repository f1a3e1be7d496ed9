import { readFileSync } from 'node:fs'

const relevant =
  'sse2 ssse3 sse4_1 avx f16c fma avx2 avx512f avx512bw avx512dq avx512vl avx512vbmi avx512_vnni ' +
  'asimd asimddp asimdhp asimdfhm i8mm bf16 sve sme'

/**
 * Features that code here may ask for and this CPU has, in Linux's words, for when there is no addon to ask; undefined where the
 * system does not tell.
 */
export function cpuFeatures(): readonly string[] | undefined {
  const flags = readFlags()
  return flags && relevant.split(' ').filter((name) => flags.has(name))
}

function readFlags(): Set<string> | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))
    return line ? new Set(line[1]!.trim().split(/\s+/)) : undefined
  } catch {
    return undefined
  }
}
