/** @type {Record<string, Record<string, string>>} */
const remedies = {
  darwin: {
    scons: 'brew install scons',
    compiler: 'xcode-select --install',
    git: 'xcode-select --install',
    zig: 'brew install zig',
  },
  linux: {
    scons: 'apt install scons, dnf install scons; or python3-venv, and the build installs it',
    compiler: 'apt install clang (apt.llvm.org has newer ones), dnf install clang',
    binutils: 'apt install g++-aarch64-linux-gnu',
    libraries: 'apt install clang g++-aarch64-linux-gnu',
    git: 'apt install git, dnf install git',
    zig: 'apt install python3-venv, and the build installs it; or pip install ziglang',
  },
}

/** @type {Record<string, string>} */
const names = {
  scons: 'scons 4',
  git: 'git',
  zig: 'zig, on the PATH or as the Python package ziglang',
  binutils: 'aarch64-linux-gnu-ar, the archiver for arm64 Linux',
}

/**
 * A line that says what is missing, and one with how to get it here.
 * @param {string} what
 * @param {string} name
 */
export function missing(what, name = names[what]) {
  const remedy = remedies[process.platform]?.[what]
  return `missing: ${name}${remedy ? `\n  get it: ${remedy}` : ''}`
}
