import { longestName } from './bytes.mjs'
import { Cursor } from './cursor.mjs'

const reexport = 8
const resolver = 16

/**
 * The names in an export trie.
 * @param {import('./bytes.mjs').Bytes} trie
 */
export function readExportTrie(trie) {
  /** @type {string[]} */
  const names = []
  if (trie.length === 0) return names
  /** @type {[node: number, name: string][]} */
  const open = [[0, '']]
  const seen = new Set([0])
  for (let next = open.pop(); next; next = open.pop()) {
    const [node, name] = next
    const cursor = new Cursor(trie, node)
    const size = cursor.uleb()
    const children = cursor.at + size
    if (size) {
      names.push(name)
      const flags = cursor.uleb()
      cursor.uleb()
      if (flags & reexport) cursor.text()
      else if (flags & resolver) cursor.uleb()
      if (cursor.at !== children) throw trie.problem(`${size} bytes about an export`, `${size + cursor.at - children}`)
    }
    for (let left = cursor.u8(); left > 0; left -= 1) {
      const longer = name + cursor.text()
      const child = cursor.uleb()
      if (longer.length > longestName) throw trie.problem(`names of at most ${longestName} bytes`, 'a longer one')
      if (seen.has(child)) throw trie.problem('a tree', `a second way to the node at ${child}`)
      seen.add(child)
      open.push([child, longer])
    }
  }
  return names
}
