import { ordinals } from './mach-o-imports.mjs'

const symbolSize = 16
const bits = { external: 0x01, kind: 0x0e, privateExternal: 0x10, debug: 0xe0 }
/** What Apple's tools leave as the mark of a stripped binary: a debug symbol of this type with this name. */
const mark = { type: 0x3c, name: 'radr://5614542' }

/**
 * @param {import('./bytes.mjs').Bytes} table
 * @param {import('./bytes.mjs').Bytes} strings
 * @param {boolean} twoLevel whether symbols say which library they come from
 */
export function readSymbolTable(table, strings, twoLevel) {
  const found = {
    /** @type {string[]} */
    exports: [],
    /** @type {{ name: string, ordinal: number }[]} */
    bindings: [],
    localSymbols: 0,
    debugSymbols: 0,
  }
  for (let at = 0; at < table.length; at += symbolSize) {
    const type = table.u8(at + 4)
    const name = () => strings.text(table.u32(at))
    if (type & bits.debug) found.debugSymbols += type === mark.type && name() === mark.name ? 0 : 1
    else if (!(type & bits.external) || type & bits.privateExternal) found.localSymbols += 1
    else if (type & bits.kind) found.exports.push(name())
    else {
      const number = table.u16(at + 6) >>> 8
      const special = number >= 0xfe ? number - 0x100 : number
      found.bindings.push({ name: name(), ordinal: twoLevel ? special : ordinals.dynamicLookup })
    }
  }
  return found
}
