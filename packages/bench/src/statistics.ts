import { extent, max, median, min, quantile } from 'simple-statistics'

/** With fewer samples, the 95th percentile is just the largest. */
export const MIN_SAMPLES_FOR_P95 = 20

/** Of timings in milliseconds. */
export interface Summary {
  minMs: number
  medianMs: number
  /** The largest of fewer than 20 samples. */
  p95Ms: number
}

/** @param samplesMs at least one */
export function summarize(samplesMs: readonly number[]): Summary {
  const samples = [...samplesMs]
  const p95Ms = samples.length < MIN_SAMPLES_FOR_P95 ? max(samples) : quantile(samples, 0.95)
  return { minMs: min(samples), medianMs: median(samples), p95Ms }
}

/** Median of a list; 0 of an empty one. */
export function medianOf(values: readonly number[]): number {
  return values.length === 0 ? 0 : median([...values])
}

/** Least and greatest of a list of at least one. */
export function extremes(values: readonly number[]): [number, number] {
  return extent([...values])
}
