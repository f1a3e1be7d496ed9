import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    globalSetup: ['tests/support/compile.ts'],
    // Emulated, tests take ten times as long.
    testTimeout: 300_000,
    maxWorkers: 2,
  },
})
