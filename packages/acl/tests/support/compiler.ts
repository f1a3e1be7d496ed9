import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Project } from './project.js'

const isThere = spawnSync('cc', ['--version']).status === 0

/** For names of tests that need a C compiler: why they are not run; CI leaves nothing out. */
export const noCompiler = isThere || process.env.CI ? '' : ' (not run here: no C compiler)'

/** Compiles a shared library that does something as soon as it is loaded. */
export function compileLibrary(project: Project, file: string, onLoad: string): void {
  compileSource(
    project,
    file,
    `#include <signal.h>
    #include <stdlib.h>
    #include <sys/stat.h>
    #include <unistd.h>
    __attribute__((constructor)) static void on_load(void) { ${onLoad} }\n`,
  )
}

/** Compiles C to a shared library. */
export function compileSource(project: Project, file: string, code: string): void {
  const source = project.write('library.c', code)
  const { status, stderr, error } = spawnSync('cc', ['-shared', '-fPIC', '-o', join(project.root, file), source], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`cc: ${error?.message ?? stderr}`)
}
