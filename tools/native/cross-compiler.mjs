// The compiler of toolchains/linux-arm64.cmake.
import { which } from 'zx'
import { complaintOf } from '../acl/links.mjs'
import { variants } from '../acl/preflight.mjs'
import { findProgram } from './preflight.mjs'

const target = process.arch === 'arm64' ? [] : ['--target=aarch64-linux-gnu']
const remedy =
  'apt install clang-19 lld-19 (apt.llvm.org where the distribution is older), and g++-aarch64-linux-gnu for its libraries'

/**
 * The first clang++ that makes programs for arm64 Linux with lld, or, in `missing`, what is wrong with the first there is.
 * @param {string} [named] the only one to try
 * @returns {Promise<{ compiler?: { program: string, version: string, name: string }, missing: string[] }>}
 */
export async function findCrossCompiler(named) {
  const lacks = []
  for (const program of named ? [named] : new Set(['clang++-19', ...variants('clang++')])) {
    const [, version] = (await findProgram([program]))?.version.match(/clang version (\S+)/) ?? []
    if (!version) continue
    const complaint = await complaintOf([program, ...target, '-static', '-fuse-ld=lld'])
    if (!complaint) return { compiler: { program, version, name: `clang ${version.split('.')[0]}` }, missing: [] }
    lacks.push(`${program}, as a compiler for arm64 with lld and libraries (${complaint})`)
  }
  return {
    missing: [`missing: ${lacks[0] ?? `${named ?? 'clang++-19'}, as a compiler for arm64`}\n  get it: ${remedy}`],
  }
}

/** Where that compiler is; fails with what is missing. */
export async function requireCrossCompiler() {
  const { compiler, missing } = await findCrossCompiler()
  if (!compiler) throw new Error(missing.join('\n'))
  return which(compiler.program)
}
