import os from 'node:os'
import path from 'node:path'
import { $, fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'
import { platforms, rootPackage } from '../platforms.mjs'
import { startRegistry } from './registry.mjs'

/**
 * An empty project where a package was installed as a user would, with a registry that has nothing else and without scripts.
 * @param {object} options
 * @param {string} options.name of the package
 * @param {string} options.platform that it is installed for
 * @param {string[]} options.tarballs that the registry has
 * @param {(project: string, env: Record<string, string>) => Promise<void>} use `env`: with which npm installed it
 */
export async function withInstalled({ name, platform, tarballs }, use) {
  const project = await fs.mkdtemp(path.join(os.tmpdir(), 'intattn-install-'))
  const registry = await startRegistry(tarballs)
  try {
    await fs.writeJson(path.join(project, 'package.json'), { name: 'empty', private: true, type: 'module' })
    await fs.writeFile(path.join(project, '.npmrc'), '')
    const env = environmentFor(project, registry.url)
    const flags = platform === `${process.platform}-${process.arch}` ? [] : flagsFor(platform)
    const installed = await $({ nothrow: true, quiet: true, cwd: project, env })`npm install ${name} ${flags}`
    // npm looks at every platform's package before it chooses; those that were not packed count as absent options.
    const foreign = registry.unknown.filter((asked) => !asked.startsWith(rootPackage))
    if (foreign.length) throw new Problem(`npm install ${name} asked for what is not there: ${foreign.join(', ')}`)
    if (installed.exitCode !== 0)
      throw new Problem(`npm install ${name} for ${platform} failed`, installed.stderr.trim())
    await use(project, env)
  } finally {
    await registry.close()
    await fs.remove(project)
  }
}

/** On its own platform npm chooses by itself. @param {string} platform */
function flagsFor(platform) {
  const { os: system, cpu, libc } = platforms[platform]
  return [`--os=${system}`, `--cpu=${cpu}`, ...(libc ? [`--libc=${libc}`] : [])]
}

/** npm's, on a machine that reaches nothing but the registry. @param {string} project @param {string} registry */
function environmentFor(project, registry) {
  const nowhere = 'http://127.0.0.1:9'
  return {
    PATH: process.env.PATH ?? '',
    HOME: project,
    npm_config_userconfig: path.join(project, '.npmrc'),
    npm_config_globalconfig: path.join(project, 'none'),
    npm_config_cache: path.join(project, '.cache'),
    npm_config_registry: registry,
    npm_config_ignore_scripts: 'true',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
    ...{ http_proxy: nowhere, https_proxy: nowhere, no_proxy: '127.0.0.1' },
  }
}

/** An environment without what would choose another engine or other addons. */
export function plainEnvironment(of = process.env) {
  const { INTATTN_ADDONS, INTATTN_ENGINE, INTATTN_ISA, ...env } = of
  return env
}
