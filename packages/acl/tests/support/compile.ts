import { fileURLToPath } from 'node:url'
import { build } from 'vite'

const local = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** The public API as one JavaScript file, for threads and processes that the test runner does not transform TypeScript for. */
export const compiledApi = new URL('../../node_modules/intattn-api.mjs', import.meta.url)

/** Runs once before all tests. The file's folder lies as deep as `src`, so the addon is where it looks for it. */
export default async function setup(): Promise<void> {
  await build({
    configFile: false,
    logLevel: 'error',
    root: local('../..'),
    build: {
      ssr: local('../../src/index.ts'),
      rollupOptions: { output: { entryFileNames: 'intattn-api.mjs' } },
      outDir: local('../../node_modules'),
      emptyOutDir: false,
      target: 'node20',
      minify: false,
    },
  })
}
