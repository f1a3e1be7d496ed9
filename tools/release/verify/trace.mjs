import path from 'node:path'
import { nodeFileTrace } from '@vercel/nft'
import { fs } from 'zx'
import { Problem } from '../../acl/problem.mjs'

/**
 * Copies what a program needs and nothing else, as frameworks do that put servers into containers and functions: the files that
 * `@vercel/nft` finds without running it.
 * @param {object} options
 * @param {string} options.project
 * @param {string} options.program a file in it
 * @param {string} options.addons the folder of addons in it, all of which must be found
 * @param {string} options.destination
 */
export async function copyTraced({ project, program, addons, destination }) {
  const { fileList } = await nodeFileTrace([path.join(project, program)], { base: project })
  const manifest = path.join(addons, 'addons.json')
  const listed = (await fs.readJson(path.join(project, manifest))).addons.map(({ file }) => path.join(addons, file))
  const absent = [manifest, ...listed].filter((file) => !fileList.has(file))
  if (absent.length) throw new Problem(`${program}: the trace of its files lacks ${absent.join(', ')}`)
  for (const file of fileList) await fs.copy(path.join(project, file), path.join(destination, file))
}
