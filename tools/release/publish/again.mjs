/** What can be done about most failures. */
export const again = 'run the same command again: it goes on where this one stopped'
