/** Oldest macOS that what is built runs on: the first for Apple's own CPUs. */
export const macosVersion = '11.0'

/** Oldest glibc that portable builds run on: RHEL 8, Debian 10, Ubuntu 18.10. */
export const glibcVersion = '2.28'

/**
 * @typedef {object} Cpu
 * @property {'linux-arm64' | 'darwin-arm64'} target
 * @property {string} arch scons option
 * @property {{ clang: string, zig: string }} tuning flag for C, C++ and assembly
 * @property {string[]} requiredFeatures what the code uses without asking, as /proc/cpuinfo names it
 */

const armv82 = ['asimd', 'asimdhp']
const armv86 = [...armv82, 'asimddp', 'i8mm', 'bf16']

/** @param {string} chip @param {string} arch @param {string[]} requiredFeatures @returns {Cpu} */
const apple = (chip, arch, requiredFeatures) => ({
  ...{ target: 'darwin-arm64', arch, requiredFeatures },
  tuning: { clang: `-mcpu=apple-${chip}`, zig: `-mcpu=apple_${chip}` },
})

/** @param {string} arch @param {string} features @param {string[]} requiredFeatures @returns {Cpu} */
const armv8 = (arch, features, requiredFeatures) => ({
  ...{ target: 'linux-arm64', arch, requiredFeatures },
  tuning: { clang: `-march=${arch}+fp16`, zig: `-mcpu=generic+${features}` },
})

/** @type {Record<string, Cpu>} The first of a target is its default. */
export const cpus = {
  'armv8.6-a': armv8('armv8.6-a', 'v8_6a+fullfp16', armv86),
  'armv8.2-a': armv8('armv8.2-a', 'v8_2a+fullfp16', armv82),
  'apple-m2': apple('m2', 'armv8.6-a', [...armv86, 'asimdfhm']),
  'apple-m3': apple('m3', 'armv8.6-a', [...armv86, 'asimdfhm']),
  'apple-m4': apple('m4', 'armv8.6-a', [...armv86, 'asimdfhm', 'sme']),
  'apple-m1': apple('m1', 'armv8.2-a', [...armv82, 'asimddp', 'asimdfhm']),
}

/** @type {readonly ('linux-arm64' | 'darwin-arm64')[]} */
export const targets = ['linux-arm64', 'darwin-arm64']

/**
 * What the engine uses, and what that does not link without: parts of one operator are listed under another.
 * filelist.json has IndexSoftmax from our patch.
 */
export const operators = [
  ...['Activation', 'Cast', 'Conv2d', 'Copy', 'Dequantize', 'Gemm', 'IndexSoftmax', 'LUT', 'MatMul', 'Mul'],
  ...['Permute', 'Quantize', 'Softmax', 'Transpose'],
]

/** The rest of a tailored build. */
export const tailoring = {
  dataTypes: ['fp32', 'fp16', 'qasymm8', 'qasymm8_signed', 'integer'],
  dataLayouts: ['nhwc', 'nchw'],
}

/** What every build says to scons. */
export const sconsOptions = {
  ...{ neon: 1, opencl: 0, embed_kernels: 0, examples: 0, gemm_tuner: 0, logging: 0, debug: 0, asserts: 0, Werror: 0 },
  // Position-independent code, and no shared library beside the static one.
  standalone: 1,
}

/**
 * @typedef {object} Toolchain
 * @property {string} name
 * @property {'linux-arm64' | 'darwin-arm64'} target
 * @property {boolean} [portable] for the oldest system named here, with a C++ runtime of its own; others are for systems like the one
 *   they were built on
 * @property {(host: string) => boolean} runsOn
 * @property {'clang' | 'zig'} dialect of the tuning flags
 * @property {[cc: string, cxx: string][]} compilers in the order of preference; of `clang`, any version suffix is found
 * @property {string[]} flags of every call of the compiler, C and C++
 * @property {string[]} linkFlags of a program
 * @property {Record<string, string>} scons
 * @property {string[]} needs beside scons and the compiler: keys of the remedies
 */

/** Apple's compilers on macOS. Another clang of the PATH has a C++ library of its own, and a program must not have two. */
export const appleClang = { cc: 'xcrun clang', cxx: 'xcrun clang++' }

/** Zig leaves debug information in, and checks for undefined behaviour where nothing else is said. */
const zigFlags = ['-g0', '-fno-sanitize=undefined']

/** @type {Toolchain[]} */
export const toolchains = [
  {
    name: 'macOS, native',
    target: 'darwin-arm64',
    portable: true,
    runsOn: (host) => host === 'darwin-arm64',
    dialect: 'clang',
    compilers: [[appleClang.cc, appleClang.cxx]],
    flags: [`-mmacosx-version-min=${macosVersion}`],
    linkFlags: [],
    scons: { os: 'macos', build: 'native' },
    needs: [],
  },
  {
    name: 'macOS, cross with zig',
    target: 'darwin-arm64',
    portable: true,
    runsOn: () => true,
    dialect: 'zig',
    compilers: [],
    // zig's linker has no list of exports: what is not to be seen in a binary has to be hidden here.
    flags: ['-target', `aarch64-macos.${macosVersion}`, ...zigFlags, '-fvisibility=hidden'],
    linkFlags: [],
    scons: { os: 'macos', build: 'cross_compile', toolchain_prefix: '', compiler_prefix: '' },
    needs: ['zig'],
  },
  {
    name: 'Linux, native',
    target: 'linux-arm64',
    runsOn: (host) => host === 'linux-arm64',
    dialect: 'clang',
    compilers: [
      ['clang', 'clang++'],
      ['gcc', 'g++'],
    ],
    flags: ['-fPIC'],
    linkFlags: ['-lpthread', '-ldl'],
    scons: { os: 'linux', build: 'native' },
    needs: [],
  },
  {
    name: 'Linux, cross with clang',
    target: 'linux-arm64',
    runsOn: (host) => host.startsWith('linux-'),
    dialect: 'clang',
    compilers: [['clang', 'clang++']],
    flags: ['--target=aarch64-linux-gnu', '-fPIC'],
    linkFlags: ['-lpthread', '-ldl'],
    scons: {
      ...{ os: 'linux', build: 'cross_compile', toolchain_prefix: 'aarch64-linux-gnu-', compiler_prefix: '' },
    },
    needs: ['binutils', 'libraries'],
  },
  {
    name: 'Linux, portable, with zig',
    target: 'linux-arm64',
    portable: true,
    runsOn: () => true,
    dialect: 'zig',
    compilers: [],
    flags: ['-target', `aarch64-linux-gnu.${glibcVersion}`, ...zigFlags, '-fPIC'],
    linkFlags: [],
    scons: { os: 'linux', build: 'cross_compile', toolchain_prefix: '', compiler_prefix: '' },
    needs: ['zig'],
  },
]
