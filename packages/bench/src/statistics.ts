import { extent, median, min, quantile } from 'simple-statistics'

/** Of timings in milliseconds. */
export interface Summary {
  minMs: number
  medianMs: number
  p95Ms: number
}

/** @param samplesMs at least one */
export function summarize(samplesMs: readonly number[]): Summary {
  const samples = [...samplesMs]
  return { minMs: min(samples), medianMs: median(samples), p95Ms: quantile(samples, 0.95) }
}

/** Median of a list; 0 of an empty one. */
export function medianOf(values: readonly number[]): number {
  return values.length === 0 ? 0 : median([...values])
}

/** Least and greatest of a list of at least one. */
export function extremes(values: readonly number[]): [number, number] {
  return extent([...values])
}
