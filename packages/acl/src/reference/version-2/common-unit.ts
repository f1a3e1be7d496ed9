import { unitsPerLogit } from '../addends.js'

/** What a score times its key's scale is worth in 1/1024 octave; section 4 of the numeric specification. */
export const rowUnit = (queryScale: number, softmaxScale: number, rotationBlock: number): number =>
  Math.fround(queryScale * softmaxScale * Math.LOG2E * (1024 / rotationBlock))

/** What is added to a score, in logits. */
export interface ScoreAddends {
  /** The head's slope, and how far the key is beyond the row's position. */
  slope?: number | undefined
  offset: number
  bias?: number | undefined
}

/** A score in 1/1024 octave; every step is rounded to float32. */
export function inUnits(score: number, keyScale: number, unit: number, { slope, offset, bias }: ScoreAddends): number {
  let x = Math.fround(Math.fround(Math.fround(score) * keyScale) * unit)
  if (slope !== undefined) x = Math.fround(x + logits(Math.fround(slope * Math.fround(offset))))
  if (bias !== undefined) x = Math.fround(x + logits(bias))
  return x
}

/** Logits in 1/1024 octave. */
export const logits = (value: number): number => Math.fround(value * unitsPerLogit)
