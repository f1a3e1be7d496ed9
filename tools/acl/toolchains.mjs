/** Oldest macOS that what is built runs on: the first for Apple's own CPUs. */
export const macosVersion = '11.0'

/**
 * @typedef {object} Cpu
 * @property {'linux-arm64' | 'darwin-arm64'} target
 * @property {string} arch scons option
 * @property {{ clang: string, zig: string }} [tuning] what follows scons's own -march
 * @property {string[]} requiredFeatures what the code uses without asking, as /proc/cpuinfo names it
 */

const armv86 = ['asimd', 'asimdhp', 'asimddp', 'i8mm', 'bf16']

/** @type {Record<string, Cpu>} The first of a target is its default. */
export const cpus = {
  'armv8.6-a': { target: 'linux-arm64', arch: 'armv8.6-a', requiredFeatures: armv86 },
  'armv8.2-a': { target: 'linux-arm64', arch: 'armv8.2-a', requiredFeatures: ['asimd', 'asimdhp'] },
  ...Object.fromEntries(
    ['m2', 'm3', 'm4'].map((chip) => [
      `apple-${chip}`,
      {
        target: /** @type {const} */ ('darwin-arm64'),
        arch: 'armv8.6-a',
        tuning: { clang: `-mcpu=apple-${chip}`, zig: `-mcpu=apple_${chip}` },
        requiredFeatures: [...armv86, 'asimdfhm'],
      },
    ]),
  ),
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
 * @property {(host: string) => boolean} runsOn
 * @property {'clang' | 'zig'} dialect of the tuning flags
 * @property {[cc: string, cxx: string][]} compilers in the order of preference; of `clang`, any version suffix is found
 * @property {string[]} flags of every call of the compiler, C and C++
 * @property {string[]} linkFlags of a program
 * @property {Record<string, string>} scons
 * @property {string[]} needs beside scons and the compiler: keys of the remedies
 */

/** @type {Toolchain[]} */
export const toolchains = [
  {
    name: 'macOS, native',
    target: 'darwin-arm64',
    runsOn: (host) => host === 'darwin-arm64',
    dialect: 'clang',
    compilers: [['clang', 'clang++']],
    flags: [`-mmacosx-version-min=${macosVersion}`],
    linkFlags: [],
    scons: { os: 'macos', build: 'native' },
    needs: [],
  },
  {
    name: 'macOS, cross with zig',
    target: 'darwin-arm64',
    runsOn: () => true,
    dialect: 'zig',
    compilers: [],
    // Zig leaves debug information in, and checks for undefined behaviour where nothing else is said.
    flags: ['-target', `aarch64-macos.${macosVersion}`, '-g0', '-fno-sanitize=undefined'],
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
]
