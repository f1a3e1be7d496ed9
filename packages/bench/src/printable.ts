/** Control characters, line and paragraph separators, and format characters such as those that turn the direction of text. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/gu

const codeOf = (character: string) => character.codePointAt(0)!.toString(16)

/** Text of others for a terminal: what would command the terminal, or reorder the line, is spelled `\u{1b}`. */
export function printable(text: string): string {
  return text.replaceAll(unprintable, (character) => `\\u{${codeOf(character)}}`)
}

/** {@link printable}, line by line. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n')
}

/** JSON text whose strings show a terminal nothing but printable characters; the values stay. */
export function printableJson(text: string): string {
  const escaped = (character: string) =>
    character === '\n'
      ? character
      : Array.from({ length: character.length }, (_, i) => character.charCodeAt(i).toString(16).padStart(4, '0'))
          .map((unit) => `\\u${unit}`)
          .join('')
  return text.replaceAll(unprintable, escaped)
}

const LONGEST_QUOTE = 60

/** A name from a file in quotes, printable and short. */
export function quoted(name: string): string {
  const shown = name.length > LONGEST_QUOTE ? `${name.slice(0, LONGEST_QUOTE)}…` : name
  return printable(JSON.stringify(shown))
}
