import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    globalSetup: ['tests/support/compile.ts'],
    // What hangs is ended; emulated, tests take ten times as long and more.
    testTimeout: process.env.INTATTN_TEST_SHARE === undefined ? 300_000 : 900_000,
    maxWorkers: 2,
  },
})
