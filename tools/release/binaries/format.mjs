import { kindOf } from '../../acl/inspect.mjs'

/** Of a universal Mach-O file, with offsets of 32 and of 64 bits. */
const universal = ['cafebabe', 'cafebabf']

/**
 * What a file is that is not what was expected.
 * @param {Buffer} content
 */
export function describeFormat(content) {
  if (universal.includes(content.toString('hex', 0, 4)))
    return 'a universal Mach-O file (lipo -thin arm64 takes one part out of it)'
  const { format, machine } = kindOf(content)
  return format === 'unknown' ? 'another kind of file' : `${format} for ${machine}`
}
