import { fileURLToPath } from 'node:url'
import { build, type Rollup } from 'vite'

const local = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** The public API as one JavaScript file, for threads and processes that the test runner does not transform TypeScript for. */
export const compiledApi = new URL('../../node_modules/intattn-api/index.mjs', import.meta.url)

/** Every module as a JavaScript file of its own, as in `dist`. */
export const compiledModules = local('../../node_modules/intattn-modules')

/** Runs once before all tests. The API lies as deep as `src/addons`, so the addon is where it looks for it. */
export default async function setup(): Promise<void> {
  await compile(local('../../node_modules/intattn-api'), [local('../../src/index.ts')], { entryFileNames: 'index.mjs' })
  const programs = ['index.ts', 'doctor/main.ts', 'doctor/child.ts'].map((name) => local(`../../src/${name}`))
  await compile(compiledModules, programs, { preserveModules: true, preserveModulesRoot: local('../../src') })
}

async function compile(outDir: string, input: string[], output: Rollup.OutputOptions): Promise<void> {
  await build({
    configFile: false,
    logLevel: 'error',
    root: local('../..'),
    build: {
      ssr: true,
      rollupOptions: { input, output: { entryFileNames: '[name].js', ...output } },
      outDir,
      emptyOutDir: false,
      target: 'node20',
      minify: false,
    },
  })
}
