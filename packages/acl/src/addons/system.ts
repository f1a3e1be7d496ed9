import { readFileSync } from 'node:fs'
import { release } from 'node:os'

/** What binaries link to at run time, and a version of it. */
export interface System {
  name: 'glibc' | 'macOS'
  version: string
}

/** That of this process; undefined where it is neither, or does not tell. */
export function detectSystem(): System | undefined {
  const isMac = process.platform === 'darwin'
  const version = isMac ? macVersion() : process.platform === 'linux' ? glibcVersion() : undefined
  return version === undefined ? undefined : { name: isMac ? 'macOS' : 'glibc', version }
}

/** Compared as far as `version` is known: 14 is as good as 14.2. */
export function isAtLeast(version: string, least: string): boolean {
  const wanted = least.split('.').map(Number)
  for (const [i, part] of version.split('.').map(Number).entries()) {
    if (part !== (wanted[i] ?? 0)) return part > (wanted[i] ?? 0)
  }
  return true
}

/**
 * From the library that is mapped into this process. A diagnostic report would tell as well, but to make one Node.js waits for every
 * worker thread, however long its present call takes.
 */
function glibcVersion(): string | undefined {
  try {
    const maps = readFileSync('/proc/self/maps', 'utf8')
    const [, path] = /\s(\/.*\/libc(?:\.so\.6|-[\d.]+\.so))(?: \(deleted\))?$/m.exec(maps) ?? []
    if (path === undefined) return undefined
    const library = readFileSync(path)
    const banner = library.subarray(library.indexOf('GNU C Library')).toString('latin1', 0, 200)
    return / version (\d+\.\d+)/.exec(banner)?.[1] ?? reportedGlibcVersion()
  } catch {
    return reportedGlibcVersion()
  }
}

/** Where /proc is not mounted, or the library has been replaced. */
function reportedGlibcVersion(): string | undefined {
  const report: Report | undefined = process.report
  if (!report) return undefined
  const { excludeNetwork = false } = report
  try {
    report.excludeNetwork = true // it looks up the names of addresses
    return report.getReport().header?.glibcVersionRuntime
  } catch {
    return undefined
  } finally {
    report.excludeNetwork = excludeNetwork
  }
}

/** What of `process.report` is asked for here; Node.js can be built without. */
interface Report {
  excludeNetwork?: boolean
  getReport(): { header?: { glibcVersionRuntime?: string } }
}

/** Darwin 19 is macOS 10.15, 20 is 11, and 25 is 26. */
function macVersion(): string | undefined {
  const darwin = Number.parseInt(release(), 10)
  if (Number.isNaN(darwin)) return undefined
  if (darwin < 20) return `10.${darwin - 4}`
  return `${darwin < 25 ? darwin - 9 : darwin + 1}`
}
