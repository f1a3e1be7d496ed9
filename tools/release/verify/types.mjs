import os from 'node:os'
import path from 'node:path'
import * as tar from 'tar'
import { $, fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'
import { rootPackage } from '../platforms.mjs'
import { installLocked } from './locked.mjs'

const quiet = $({ nothrow: true, quiet: true })

/**
 * That bundlers, Node.js and TypeScript find what package.json says is there, and that the declarations compile where they promise to.
 * @param {string} tarball of the package with the API
 * @param {(text: string) => void} say
 */
export async function verifyTypes(tarball, say) {
  // What attw calls esm-only: in TypeScript's older modes a CommonJS file may only import() the package.
  const typed = await quiet`npx attw ${tarball} --profile esm-only`
  if (typed.exitCode !== 0) throw new Problem('are-the-types-wrong found something', typed.text().trim())
  const project = await fs.mkdtemp(path.join(os.tmpdir(), 'intattn-types-'))
  try {
    const place = path.join(project, 'node_modules', rootPackage)
    await fs.mkdirp(place)
    await tar.extract({ file: tarball, cwd: place, strip: 1 })
    await fs.copy(path.join(import.meta.dirname, 'consumer.mts'), path.join(project, 'consumer.mts'))
    await fs.writeFile(path.join(project, 'required.cts'), `import acl = require('${rootPackage}')\nacl.engines()\n`)
    const oldest = path.join(await installLocked('compilers'), 'typescript')
    const newest = path.resolve('node_modules/typescript')
    await compile(project, oldest, ['consumer.mts'], { lib: ['es2022'] })
    await compile(project, newest, ['consumer.mts'], { lib: ['es2022'] })
    await compile(project, newest, ['consumer.mts', 'required.cts'], { lib: ['esnext'] })
    const versions = await Promise.all([oldest, newest].map(versionOf))
    say(`are-the-types-wrong found nothing; the types compile with TypeScript ${versions.join(' and ')}`)
  } finally {
    await fs.remove(project)
  }
}

/**
 * Compiles as strictly as there is, libraries too, and without @types/node.
 * @param {string} project
 * @param {string} compiler the folder of TypeScript
 * @param {string[]} files
 * @param {object} options more of them
 */
async function compile(project, compiler, files, options) {
  const compilerOptions = {
    ...{ noEmit: true, strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, types: [] },
    ...{ target: 'es2022', module: 'nodenext', moduleResolution: 'nodenext' },
    ...options,
  }
  await fs.writeJson(path.join(project, 'tsconfig.json'), { compilerOptions, files })
  const run = await quiet`node ${path.join(compiler, 'bin/tsc')} -p ${project}`
  if (run.exitCode !== 0)
    throw new Problem(`the types do not compile with TypeScript ${await versionOf(compiler)}`, run.text().trim())
}

/** @param {string} compiler */
const versionOf = async (compiler) => (await fs.readJson(path.join(compiler, 'package.json'))).version
