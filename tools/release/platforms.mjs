import { cpus } from '../acl/toolchains.mjs'

/** What binaries are published for, with the fields by which npm chooses. */
export const platforms = {
  'darwin-arm64': { os: 'darwin', cpu: 'arm64' },
  'linux-arm64': { os: 'linux', cpu: 'arm64', libc: 'glibc' },
  'linux-x64': { os: 'linux', cpu: 'x64', libc: 'glibc' },
}

const host = `${process.platform}-${process.arch}`

/** What can be packed on this machine: C++ libraries are built by a compiler with the C++ library that programs there have. */
export const packedHere = { 'linux-x64': Object.keys(platforms), 'linux-arm64': ['linux-arm64', 'darwin-arm64'] }[
  host
] ?? ['darwin-arm64']

/** What runs on this machine, emulated where it must be. */
export const runHere = { 'linux-x64': ['linux-x64', 'linux-arm64'] }[host] ?? [host]

/** The npm package with TypeScript's part, the benchmark that uses it, and those with the binaries of a platform. */
export const rootPackage = '@intattn/acl'
export const benchPackage = '@intattn/bench'
export const platformPackage = (platform) => `${rootPackage}-${platform}`

/**
 * What the C++ libraries for a platform are compiled for: one tarball each.
 * @param {string} platform
 */
export function libraryCpus(platform) {
  const names = Object.keys(cpus).filter((name) => cpus[name].target === platform)
  // Without ComputeLibrary one library is for all: its kernels are chosen at run time.
  return names.length ? names : ['x86-64']
}
