import { describe, expect, it } from 'vitest'
import type { Machine } from '../src/machine.js'
import { formatMachine } from '../src/report/table.js'

describe('the first lines', () => {
  const machine = (arch: string): Machine => ({
    ...{ cpu: 'a CPU', cores: 8, availableThreads: 8, memoryGiB: 16, power: null, load: 0 },
    ...{ os: 'Darwin 25.0.0', arch, node: 'v22.0.0', version: '0.1.0', commit: null },
    engines: [
      { name: 'native', available: true, compiler: 'clang 17.0.0', instructionSets: [] },
      { name: 'acl', available: false, reason: "addons.json (no addon of engine 'acl')", instructionSets: [] },
    ],
  })

  it('name the engine that the benchmark is without, where it could be', () => {
    expect(formatMachine(machine('arm64'))).toContain("\nwithout  acl: addons.json (no addon of engine 'acl')\n")
    expect(formatMachine(machine('x64'))).not.toContain('without')
  })
})
