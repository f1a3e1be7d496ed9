import { oneLine } from '../checks/describe.js'
import type { AddonReport, DefaultReport, DoctorReport, PlaceReport } from './report.js'

const width = 96
const column = 16

/** The report for people, in 96 columns; longer words, such as paths, stick out. */
export function textOf(report: DoctorReport): string {
  const { version, platform, node, system, cpuFeatures, environment, places, remedies } = report
  const isLinux = platform.startsWith('linux-')
  const fact = (name: string, value: string) => wrapped(value, column, name.padEnd(column))
  const lines = [
    `@intattn/acl ${version ?? '(version unknown)'}`,
    '',
    ...fact('platform', `${platform}, Node.js ${node}`),
    ...fact(isLinux ? 'C library' : 'system', system ? `${system.name} ${system.version}` : 'unknown to this package'),
    ...fact('CPU features', cpuFeatures.join(' ') || 'unknown'),
    ...Object.entries(environment).flatMap(([name, value]) => fact(name, value ?? 'not set')),
    '',
    'Addons, in the order in which they are looked for:',
    ...places.flatMap(placeLines),
    '',
    ...wrapped(conclusion(report.default)),
  ]
  if (remedies.length) lines.push('', 'What to do:', ...remedies.flatMap((remedy) => wrapped(remedy, 4, '  - ')))
  return `${lines.join('\n')}\n`
}

/** The report for programs; what a terminal would obey, or turn around, in the names of others is escaped. */
export function jsonOf(report: DoctorReport): string {
  const escaped = (unit: string) => (unit === '\n' ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  const text = JSON.stringify(report, null, 2).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (found) =>
    found.split('').map(escaped).join(''),
  )
  return `${text}\n`
}

const placeLines = ({ place, path, reason, addons }: PlaceReport): string[] => [
  ...wrapped(`${place}: ${path}`, 4, '  '),
  ...(reason === undefined ? [] : wrapped(reason, 4)),
  ...addons.flatMap(addonLines),
]

const verdicts: Record<AddonReport['verdict'], string> = {
  unfit: 'not for this machine',
  damaged: 'of no use',
  works: 'works',
  refused: 'does not load',
  wrong: 'does not work',
  crashed: 'crashes',
  hung: 'hangs',
}

const unlocked =
  'warning: nothing vouches for the source of its ComputeLibrary; `node tools/acl/main.mjs lock` in the repository records what the tag has: compare and commit that, and build again'

function addonLines({ engine, file, library, verdict, reason, instructionSets = [] }: AddonReport): string[] {
  const built = library ? `, ComputeLibrary ${library.version} for ${library.cpu}` : ''
  const why = reason === undefined ? '' : `: ${reason}`
  const sets = verdict === 'works' && instructionSets.length ? ` with ${instructionSets.join(', ')}` : ''
  return [
    ...wrapped(`${file} (engine ${engine}${built})`, 6, '    '),
    ...wrapped(verdicts[verdict] + sets + why, 8),
    ...(library?.unlocked ? wrapped(unlocked, 8) : []),
  ]
}

function conclusion({ works, reason, engine, isa, place }: DefaultReport): string {
  if (!engine) return `Default: none; ${reason}`
  const chosen = `engine ${engine}${isa ? ` with ${isa}` : ''}${place ? ` (${place})` : ''}`
  return `Default: ${chosen}, which ${works ? 'works' : `does not work: ${reason}`}`
}

function wrapped(text: string, indent = 0, first = ' '.repeat(indent)): string[] {
  const [start, ...words] = oneLine(text).split(' ')
  const lines = [`${first}${start}`]
  for (const word of words) {
    const line = `${lines.at(-1)} ${word}`
    if (line.length <= width) lines.splice(-1, 1, line)
    else lines.push(' '.repeat(indent) + word)
  }
  return lines
}
