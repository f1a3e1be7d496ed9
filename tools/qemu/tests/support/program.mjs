import os from 'node:os'
import path from 'node:path'
import { inject } from 'vitest'
import { $, fs } from 'zx'

/** Compiles a program for arm64 Linux. @param language `assembly`, without libraries, or `c++` */
export async function compile(language, text) {
  const { compiler } = inject('built').toolchain
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'intattn-program-'))
  const source = path.join(directory, language === 'assembly' ? 'program.s' : 'program.cc')
  const program = path.join(directory, 'program')
  await fs.writeFile(source, text)
  const cross = process.arch === 'arm64' ? [] : ['--target=aarch64-linux-gnu']
  const flags = language === 'assembly' ? ['-nostdlib'] : ['-O1', '-pthread']
  await $({ quiet: true })`${compiler.program} ${cross} ${flags} -static -fuse-ld=lld -o ${program} ${source}`
  return { program, remove: () => fs.remove(directory) }
}
