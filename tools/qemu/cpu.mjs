/**
 * The emulated CPUs. `qemu` is the value of qemu-aarch64's -cpu; `features`, named as in /proc/cpuinfo, are there, and
 * those in `without` are not: their instructions are illegal. (A masked HWCAP2 would hide them and execute them.)
 */
export const cpus = {
  /** Apple M2 and later as far as they have in common: no SVE, no SME. */
  'apple-m2': {
    qemu: 'max,sve=off,sme=off',
    features: ['asimd', 'asimdhp', 'asimddp', 'i8mm', 'bf16'],
    without: ['sve', 'sme'],
  },
  /** Arm Neoverse-N1, close to Apple M1: dot products and float16, no matrix instructions. */
  'neoverse-n1': { qemu: 'neoverse-n1', features: ['asimd', 'asimdhp', 'asimddp'], without: ['i8mm', 'bf16', 'sve'] },
  /** Arm Cortex-A72 (Raspberry Pi 4): neither dot products nor float16 arithmetic. */
  'cortex-a72': { qemu: 'cortex-a72', features: ['asimd'], without: ['asimdhp', 'asimddp', 'i8mm', 'bf16', 'sve'] },
}

export const defaultCpu = 'apple-m2'

/** Where the dynamic loader and the libraries of programs for arm64 Linux are: qemu-aarch64's -L. */
export const sysroot = '/usr/aarch64-linux-gnu'

/** The command that runs a program for arm64 Linux on an emulated CPU. */
export const emulator = (cpu) => ['qemu-aarch64', '-L', sysroot, '-cpu', cpus[cpu].qemu]
