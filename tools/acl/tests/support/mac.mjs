import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { $ } from 'zx/core'
import { checkout, locked, programs, temporary, upstream, write } from './checkout.mjs'

const root = fileURLToPath(new URL('../../../..', import.meta.url))

/** What makes Node.js take the machine for an Apple silicon Mac. */
const machine = "Object.defineProperties(process, { platform: { value: 'darwin' }, arch: { value: 'arm64' } })\n"

/** Tells of CPU CHIP, which lacks the feature LACKS and those newer than it; where SILENT is set, no features. */
const sysctl = `#!/bin/sh
[ "$2" = machdep.cpu.brand_string ] && echo "$CHIP" && exit
[ -z "$SILENT" ] || exit 1
has=1
for feature in FP16 DotProd FHM BF16 I8MM SME; do
  [ "$feature" = "$LACKS" ] && has=0
  [ "$2" = "hw.optional.arm.FEAT_$feature" ] && echo "$has" && exit
done
exit 1
`

/** A clang beside Apple's: its C++ library is another one. */
const homebrew = '#!/bin/sh\necho "Homebrew clang version 21.0.0"\n'

/** Python with packages that are programs, made by its pip as it would install them; PIP_FAILS: for want of network. */
const python = `#!/bin/sh
here=$(dirname "$0")
case "$*" in
*"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python3" ;;
*"-m pip install"*)
  [ -z "$PIP_FAILS" ] || { echo "ERROR: $PIP_FAILS" >&2; exit 1; }
  for requirements; do :; done
  while IFS= read -r line; do
    case $line in *==*) break ;; esac
  done <"$requirements"
  name=\${line%%==*} version=\${line#*==}
  mkdir -p "$here/../programs"
  printf '#!/bin/sh\\necho "%s version %s"\\n' "$name" "\${version%% *}" >"$here/../programs/$name"
  chmod +x "$here/../programs/$name" ;;
*"import cmake"*|*"import ninja"*) [ -d "$here/../programs" ] && cd "$here/../programs" && pwd ;;
*"import ensurepip, venv"*) ;;
*) exit 1 ;;
esac
`

/** Nx as far as a build of ComputeLibrary goes through it. */
const npx = `#!/bin/sh
task=\${3#compute-library:}
exec node tools/acl/main.mjs build --target "\${task%-apple-*}" --cpu "apple-\${task##*-}"
`

/**
 * A checkout of this repository on a Mac, with stand-ins for its programs; it is reached by a link, as what is in /tmp is on macOS.
 * @param {string[]} [without] of these
 */
export async function mac(without = []) {
  const source = upstream()
  const repository = checkout(await locked(source))
  for (const name of ['acl', 'native', 'qemu'])
    cpSync(path.join(root, 'tools', name), path.join(repository.root, 'tools', name), {
      recursive: true,
      filter: (file) => !/[/\\](tests|build|node_modules)$/.test(file),
    })
  symlinkSync(path.join(root, 'node_modules'), path.join(repository.root, 'node_modules'))
  const link = path.join(temporary(), 'checkout')
  symlinkSync(repository.root, link)

  const apple = programs({ only: true, without: ['clang', 'clang++', 'aarch64-linux-gnu-ar'] })
  const version = (text) => `#!/bin/sh\necho "${text}"\n`
  const scripts = {
    ...{ sysctl, python3: python, npx, 'clang++': homebrew, clang: homebrew },
    ...{ cmake: version('cmake version 3.31.0'), make: version('GNU Make 3.81') },
    ccache: '#!/bin/sh\nexec "$@"\n',
  }
  for (const [name, text] of Object.entries(scripts)) write(path.join(apple, name), text, 0o755)
  const developer = path.join(temporary(), 'Developer')
  mkdirSync(developer)
  const preload = path.join(developer, 'machine.cjs')
  write(preload, machine)
  for (const name of ['clang', 'clang++'])
    cpSync(path.join(import.meta.dirname, 'programs', name), path.join(developer, name))
  // Apple's are not on the PATH.
  const xcrun = readFileSync(path.join(apple, 'xcrun'), 'utf8').replace(
    '#!/bin/sh\n',
    `#!/bin/sh\nPATH=${developer}:$PATH\n`,
  )
  write(path.join(apple, 'xcrun'), xcrun, 0o755)
  for (const name of without) rmSync(path.join(apple, name))
  const env = {
    ...{ CHIP: 'Apple M2', LACKS: 'SME' },
    ...{
      PATH: apple,
      ACL_SOURCE: source,
      NODE_OPTIONS: `--require=${preload}`,
      CLANG_VERSION: 'Apple clang version 17.0.0',
    },
    SCONS_CALLS: path.join(developer, 'calls'),
  }
  const { CI, CC, CXX, SDKROOT, ...clean } = process.env
  const node = (args, more) =>
    $({ nothrow: true, quiet: true, cwd: link, env: { ...clean, ...env, ...more } })`${process.execPath} ${args}`
  return {
    ...repository,
    developer,
    programs: apple,
    /** A script of tools. @param {string} script @param {string[]} [args] @param {NodeJS.ProcessEnv} [more] */
    tool: (script, args = [], more = {}) => node([path.join(link, 'tools', script), ...args], more),
    /** What an expression is that uses a module of tools. @param {string} module @param {string} expression @param {NodeJS.ProcessEnv} [more] */
    async value(module, expression, more = {}) {
      const script = path.join(developer, 'value.mjs')
      const from = JSON.stringify(path.join(repository.root, 'tools', module))
      write(script, `import * as m from ${from}\nconsole.log(JSON.stringify(await (${expression})))\n`)
      const { stdout, stderr } = await node([script], more)
      return stdout ? JSON.parse(stdout) : stderr
    },
    calls: () =>
      readFileSync(env.SCONS_CALLS, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
  }
}
