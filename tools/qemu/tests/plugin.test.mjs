import { afterEach, describe, expect, inject, it } from 'vitest'
import { $ } from 'zx'
import { defaultCpu, emulator } from '../cpu.mjs'
import { countRegions } from '../run.mjs'
import { compile } from './support/program.mjs'

const built = inject('built')
const programs = []
afterEach(async () => {
  await Promise.all(programs.splice(0).map(({ remove }) => remove()))
})

/** A mark: two instructions that count, and the svc, which does not. */
const mark = (number) => `mov x0, #${number}\nmov x8, x20\nsvc 0\n`
const begin = mark(0x100)
const end = mark(0x101)

/** An assembly program of `lines`, which may use all registers but x20. */
async function assemble(...lines) {
  const made = await compile(
    'assembly',
    ['.global _start', '_start:', 'ldr x20, =0x1a77a', ...lines, 'mov x0, #0', 'mov x8, #94', 'svc 0', ''].join('\n'),
  )
  programs.push(made)
  return made.program
}

const count = (program, more) => countRegions({ plugin: built.plugin, program, cpu: defaultCpu, ...more })

const none = { prepare: 0, scores: 0, softmax: 0, values: 0, output: 0, other: 0 }

describe.skipIf(!built)('the plugin', () => {
  it('counts straight code to the instruction', async () => {
    const program = await assemble(begin, '.rept 1234', 'nop', '.endr', mark(0), end)
    expect(await count(program)).toEqual([{ total: 1238, foreign: 0, stages: { ...none, prepare: 1236, other: 2 } }])
  })

  it('counts loops, branches and calls to the instruction', async () => {
    const program = await assemble(
      begin,
      'mov x1, #1000', // 1
      '1: bl 2f', // 1000
      'subs x1, x1, #1', // 1000
      'b.ne 1b', // 1000
      'b 3f', // 1
      '2: tbz x1, #0, 4f', // 1000
      'nop', // 500, odd x1 only
      '4: ret', // 1000
      '3:',
      mark(3), // 2
      end, // 2
    )
    expect(await count(program)).toEqual([{ total: 5506, foreign: 0, stages: { ...none, values: 5504, other: 2 } }])
  })

  it('attributes to the stage named by the mark that ends it, and -1 to none', async () => {
    const lines = [0, 1, 2, 3, 4, -1].flatMap((stage, i) => [`.rept ${10 ** i}`, 'nop', '.endr', mark(stage)])
    const program = await assemble(begin, ...lines, end)
    expect(await count(program)).toEqual([
      {
        total: 111111 + 14,
        foreign: 0,
        stages: { prepare: 3, scores: 12, softmax: 102, values: 1002, output: 10002, other: 100004 },
      },
    ])
  })

  it('counts each region by itself, and nothing outside', async () => {
    const nops = (n) => `.rept ${n}\nnop\n.endr\n`
    const program = await assemble(
      nops(77),
      mark(1),
      begin,
      nops(5),
      end,
      nops(99),
      mark(2),
      begin,
      nops(6),
      mark(2),
      end,
    )
    expect(await count(program)).toEqual([
      { total: 7, foreign: 0, stages: { ...none, other: 7 } },
      { total: 10, foreign: 0, stages: { ...none, softmax: 8, other: 2 } },
    ])
  })

  it('gives the executions of every block', async () => {
    const program = await assemble(begin, 'mov x1, #50', '1: subs x1, x1, #1', 'b.ne 1b', mark(2), end)
    const [{ blocks, total }] = await count(program, { blocks: true })
    const executed = blocks.reduce(
      (sum, [, instructions, ...counts]) => sum + instructions * counts.reduce((a, b) => a + b),
      0,
    )
    expect(executed).toBe(total + 2) // the two marks' own svc
    expect(blocks).toContainEqual([expect.any(Number), 2, 0, 0, 49, 0, 0, 0])
  })

  it('gives the same counts every time', async () => {
    const program = await assemble(begin, 'mov x1, #999', '1: subs x1, x1, #1', 'b.ne 1b', mark(2), end)
    expect(await count(program)).toEqual(await count(program))
  })

  it('marks are harmless without it', async () => {
    const program = await assemble(begin, mark(1), end)
    const { exitCode } = await $({ quiet: true, nothrow: true })`${emulator(defaultCpu)} ${program}`
    expect(exitCode).toBe(0)
  })

  it.each([
    ['a region begins inside another', [begin, begin, end]],
    ['a region ends that this thread has not begun', [end]],
    ['the program ends inside a region', [begin]],
    ['a mark that is no stage', [begin, mark(5), end]],
    ['a mark that is no stage', [begin, mark(-2), end]],
  ])('refuses: %s', async (message, lines) => {
    await expect(count(await assemble(...lines))).rejects.toThrow(message)
  })

  it('refuses regions in which other threads run', async () => {
    const made = await compile(
      'c++',
      `#include <atomic>
      #include <thread>
      void mark(long stage) {
        register long x0 asm("x0") = stage;
        register long x8 asm("x8") = 0x1a77a;
        asm volatile("svc 0" : "+r"(x0) : "r"(x8) : "memory");
      }
      int main() {
        std::atomic<int> turn{0};
        std::thread other([&] { while (turn != 1) {} turn = 2; });
        mark(0x100);
        turn = 1;
        while (turn != 2) {}
        mark(0x101);
        other.join();
      }`,
    )
    programs.push(made)
    await expect(count(made.program)).rejects.toThrow(/expected one thread, but others executed \d+ instructions/)
  })

  it('says so when QEMU speaks another version of its interface', async () => {
    const { program, remove } = await compile('assembly', '.global _start\n_start: mov x0, #0\nmov x8, #94\nsvc 0\n')
    programs.push({ remove })
    const plugin = `${program}.so`
    const text = 'int qemu_plugin_version = 99; int qemu_plugin_install(void) { return 0; }'
    await $({ quiet: true, input: text })`${built.toolchain.plugin.program} -x c -shared -fPIC -o ${plugin} -`
    await expect(countRegions({ plugin, program, cpu: defaultCpu })).rejects.toThrow(
      /^qemu-aarch64 does not take program\.so: .*requires API version 99/s,
    )
  })

  it('tells what it was given that it does not take', async () => {
    const program = await assemble(begin, end)
    const run = (option) => $({ quiet: true, nothrow: true })`qemu-aarch64 -plugin ${built.plugin},${option} ${program}`
    expect((await run('out=/nowhere/counts.json')).stderr).toContain(
      'expected out=FILE that can be written, received /nowhere/counts.json',
    )
    expect((await run('blocks=on')).stderr).toContain('expected out=FILE that can be written, received nothing')
    expect((await run('speed=high')).stderr).toContain('expected out=FILE or blocks=on|off, received speed=high')
  })
})
