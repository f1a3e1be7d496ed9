import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['tests/**/*.test.mjs'],
    globalSetup: ['tests/support/build.mjs'],
    testTimeout: 240_000,
    maxWorkers: 2,
  },
})
