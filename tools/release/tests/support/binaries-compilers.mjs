import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { $ } from 'zx'
import { requireZig, zigHere } from '../../../acl/preflight.mjs'

const host = `${process.platform}-${process.arch}`
const entries = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']

const source = `
int napi_create_double(void *env, double value, void **result);
void *malloc(unsigned long size);
void *visible(unsigned long size) { return malloc(size); }
int node_api_module_get_api_version_v1(void) { return 8; }
void *napi_register_module_v1(void *env, void *exports) {
  void *result = visible(8);
  napi_create_double(env, 0.5, &result);
  return result;
}
#ifdef MISSING
void missing(void);
void calls_missing(void) { missing(); }
#endif
#ifdef RELOCATED
asm(".text\\n.balign 8\\n.globl pointer\\npointer: .quad malloc");
#endif
#ifdef PATHS
const char *visible_path(void) { return "/home/me/intattn/addon.c"; }
#endif
`

const libSystem = `--- !tapi-tbd
tbd-version: 4
targets: [ arm64-macos ]
install-name: '/usr/lib/libSystem.B.dylib'
exports:
  - targets: [ arm64-macos ]
    symbols: [ _malloc, dyld_stub_binder ]
...
`

/** @param {string[]} programs @returns the first that runs */
async function first(programs) {
  for (const program of programs) {
    const { exitCode } = await $({ nothrow: true, quiet: true })`${program} --version`
    if (exitCode === 0) return program
  }
  return undefined
}

const linuxFlags = [
  '-s',
  '-Wl,-z,nodelete',
  '-Wl,-z,now',
  '-Wl,-z,relro',
  '-Wl,-z,noexecstack',
  '-Wl,--version-script=exports.map',
]
const macosFlags = [
  '-dynamiclib',
  '-install_name',
  '@rpath/intattn.node',
  '-Wl,-x',
  '-Wl,-exported_symbols_list,exports.txt',
]

const zigTargets = {
  'linux-x64': 'x86_64-linux-gnu.2.28',
  'linux-arm64': 'aarch64-linux-gnu.2.28',
  'darwin-arm64': 'aarch64-macos.11.0',
}

/**
 * @typedef {object} Compiler
 * @property {string} name
 * @property {string} platform
 * @property {'cc' | 'clang' | 'zig'} kind
 * @property {string | undefined} command when it is here
 * @property {string[]} flags that make a good addon
 * @property {string} remedy how to get it
 * @property {boolean} needed in CI
 */

/** @param {'linux-x64' | 'linux-arm64'} platform @param {string} cross its name for compilers @returns {Promise<Compiler>} */
async function findForLinux(platform, cross) {
  const native = host === platform
  return {
    ...{ name: `${platform}, by its compiler`, platform, kind: 'cc', flags: ['-shared', '-fPIC', ...linuxFlags] },
    command: await first(native ? ['cc', 'gcc', 'clang'] : [`${cross}-gcc`]),
    remedy: native ? 'apt install gcc' : `apt install gcc-${cross.replaceAll('_', '-')}`,
    needed: native || (host === 'linux-x64' && platform === 'linux-arm64'),
  }
}

/** @returns {Promise<Compiler>} */
async function findForMacos() {
  const apple = host === 'darwin-arm64'
  const clang = await first(apple ? ['cc'] : ['clang-19', 'clang'])
  const linker = apple ? clang : await first(['ld64.lld-19', 'ld64.lld'])
  const target = apple
    ? ['-arch', 'arm64']
    : ['--target=arm64-apple-darwin', '-fuse-ld=lld', '-nostdlib', 'libSystem.tbd']
  return {
    ...{ name: 'darwin-arm64, by clang', platform: 'darwin-arm64', kind: 'clang', command: linker && clang },
    flags: [...target, '-mmacosx-version-min=11.0', '-Wl,-undefined,dynamic_lookup', ...macosFlags],
    remedy: apple ? 'xcode-select --install' : 'apt install clang-19 lld-19',
    needed: apple || process.platform === 'linux',
  }
}

/** @returns {Promise<Compiler[]>} */
async function findZigs() {
  // In CI as a build would have it: installed where it is not there.
  const command = process.env.CI ? await requireZig(console.log) : await zigHere()
  return Object.entries(zigTargets).map(([platform, target]) => ({
    ...{ name: `${platform}, by zig`, platform, kind: 'zig', command },
    flags: [
      ...['cc', '-target', target, '-shared', '-fPIC'],
      ...(platform === 'darwin-arm64'
        ? ['-undefined', 'dynamic_lookup', '-install_name', '@rpath/intattn.node']
        : linuxFlags),
    ],
    ...{ remedy: 'pack installs it; or pip install ziglang', needed: process.platform === 'linux' },
  }))
}

/** All of them; those that are not here are named, and in CI nothing is left out. */
export async function findCompilers() {
  const compilers = [
    await findForLinux('linux-x64', 'x86_64-linux-gnu'),
    await findForLinux('linux-arm64', 'aarch64-linux-gnu'),
    await findForMacos(),
    ...(await findZigs()),
  ]
  const absent = compilers.filter(({ command }) => !command)
  const lines = (of) => of.map(({ name, remedy }) => `missing: ${name}\n  get it: ${remedy}`).join('\n')
  const needed = absent.filter((one) => one.needed)
  if (needed.length && process.env.CI)
    throw new Error(`Addons cannot be compiled here, and CI leaves nothing out.\n${lines(needed)}`)
  if (absent.length) console.log(`SKIPPED compiled addons:\n${lines(absent)}`)
  return compilers
}

/** A directory in which addons are compiled. */
export function workshop() {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'intattn-compiled-'))
  const files = {
    'addon.c': source,
    'exports.map': `{ global: ${entries.join('; ')}; local: *; };\n`,
    'exports.txt': entries.map((name) => `_${name}\n`).join(''),
    'libSystem.tbd': libSystem,
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(directory, name), text)
  return {
    /**
     * @param {Compiler} compiler
     * @param {object} [changes]
     * @param {string[]} [changes.more] flags
     * @param {RegExp} [changes.without] flags that are left out
     */
    async compile({ command, flags }, { more = [], without = /^$/ } = {}) {
      const file = path.join(directory, 'intattn.node')
      const kept = flags.filter((flag) => !without.test(flag))
      await $({ quiet: true, cwd: directory })`${command} ${kept} -O1 ${more} -o ${file} addon.c`
      return file
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}
