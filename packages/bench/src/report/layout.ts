import Table from 'cli-table3'

/** What is not known, or not meant. */
export const NONE = '–'

const FRAME = {
  ...{ top: '', 'top-left': '', 'top-mid': '', 'top-right': '' },
  ...{ bottom: '', 'bottom-left': '', 'bottom-mid': '', 'bottom-right': '' },
  ...{ left: '', middle: '  ', right: '' },
  ...{ 'left-mid': '', mid: '─', 'mid-mid': '──', 'right-mid': '' },
}

/** An empty table: columns of names to the left, columns of numbers to the right. */
export function newTable(names: readonly string[], numbers: readonly string[]): Table.Table {
  return new Table({
    head: [...names, ...numbers],
    colAligns: [...names.map(() => 'left' as const), ...numbers.map(() => 'right' as const)],
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0, compact: true },
    chars: FRAME,
  })
}

export function milliseconds(ms: number): string {
  return ms.toFixed(ms < 1 ? 4 : ms < 10 ? 3 : ms < 100 ? 2 : 1)
}

export function ratio(value: number | null): string {
  return value === null ? NONE : value.toFixed(2)
}
