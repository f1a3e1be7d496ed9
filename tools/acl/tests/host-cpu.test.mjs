import { expect, test } from 'vitest'
import { absentIn } from '../host-cpu.mjs'
import { cpus } from '../toolchains.mjs'

const neoverseN1 =
  'processor\t: 0\nFeatures\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm asimddp\n'

test('a Neoverse N1 lacks what armv8.6-a needs, and has what armv8.2-a needs', () => {
  expect(absentIn(neoverseN1, cpus['armv8.6-a'].requiredFeatures)).toEqual(['i8mm', 'bf16'])
  expect(absentIn(neoverseN1, cpus['armv8.2-a'].requiredFeatures)).toEqual([])
})

test('a list without features says nothing', () => {
  expect(absentIn('processor : 0\n', ['i8mm'])).toEqual([])
})
