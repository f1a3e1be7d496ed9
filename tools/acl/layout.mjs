import path from 'node:path'

/**
 * Where things are in a checkout.
 * @param {string} root
 */
export function layoutOf(root) {
  const build = path.join(root, 'build/compute-library')
  return {
    root,
    lock: path.join(root, 'third_party/upstream.lock.json'),
    checkout: path.join(root, 'third_party/ComputeLibrary'),
    patches: path.join(root, 'patches/ComputeLibrary'),
    /** What is built and downloaded; ignored by git. */
    build,
    sources: path.join(build, 'sources'),
    /** Tools that come as Python packages. */
    python: path.join(root, 'build/python'),
    /** The tree for working on the patches. */
    edit: path.join(build, 'edit'),
    /** @param {string} file as messages name it */
    name: (file) => path.relative(root, file) || '.',
    /** @param {{ target: string, cpu: string, portable: boolean }} build */
    prefix: ({ target, cpu, portable }) => path.join(build, `${target}-${cpu}${portable ? '-portable' : ''}`),
  }
}

/** @typedef {ReturnType<typeof layoutOf>} Layout */
