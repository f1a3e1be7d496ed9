/**
 * How long and how often; tests wait less.
 * @typedef {object} Limits
 * @property {number} retries how often a request is sent again
 * @property {number} second milliseconds in a second of waiting: before its n-th retry a request waits n² of them
 * @property {number} timeout milliseconds that GitHub has to answer
 * @property {number} speed bytes per millisecond that uploads and downloads reach at least
 * @property {number} patience the longest wait for GitHub's rate limits, in seconds
 * @property {number} polls how often the registry is asked whether it shows a package; these waits too grow with n²
 */

/** @type {Limits} */
export const defaultLimits = { retries: 5, second: 1000, timeout: 60_000, speed: 50, patience: 900, polls: 10 }

/**
 * The wait before the n-th retry.
 * @param {Limits} limits
 * @param {number} n
 */
export const backoff = ({ second }, n) => new Promise((resolve) => setTimeout(resolve, n * n * second))
