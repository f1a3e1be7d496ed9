/**
 * @typedef {object} Rule
 * @property {string} expected
 * @property {string[]} received what breaks the rule
 */

const mostNames = 8

/**
 * What is wrong, one line for each rule that is broken.
 * @param {Rule[]} rules
 */
export function violations(rules) {
  return rules
    .filter(({ received }) => received.length)
    .map(({ expected, received }) => {
      const more = received.length > mostNames ? ` and ${received.length - mostNames} more` : ''
      return `expected ${expected}, received ${received.slice(0, mostNames).join(', ')}${more}`
    })
}

/**
 * A rule about one fact.
 * @param {string} expected
 * @param {boolean} holds
 * @param {string} received when it does not
 * @returns {Rule}
 */
export const rule = (expected, holds, received) => ({ expected, received: holds ? [] : [received] })

/**
 * That only what Node.js looks for is exported, and all of it.
 * @param {string[]} exported
 * @param {string[]} entries
 * @returns {Rule[]}
 */
export const exportRules = (exported, entries) => [
  { expected: `no exports but ${entries.join(' and ')}`, received: exported.filter((name) => !entries.includes(name)) },
  ...entries.map((name) => rule(`the export ${name}`, exported.includes(name), 'none of that name')),
]
