import { stepsOf } from './factors.js'
import type { Code } from './scheme.js'

/**
 * Codes as native/ops/encode.h wants them.
 */

const TABLE_BYTES = 512

export interface EncoderValues {
  inverseStep: number
  low: number
  high: number
  offset: number
  /** Null for consecutive levels. */
  table: Uint8Array | null
}

/** @param offset what is added to a level to make the stored byte */
export function encoderOf(code: Code, offset = offsetOf(code)): EncoderValues {
  const { levels, family, step, fineFirst } = code
  return {
    inverseStep: Math.fround(1 / step),
    // With a table they are those of the first row.
    low: fineFirst ?? levels[0],
    high: fineFirst === undefined ? levels[levels.length - 1] : fineFirst + 255,
    offset,
    table: family === 'uniform' || family === 'o2sf' ? null : encodeTable(levels, offset),
  }
}

/** 0 without negative levels, 128 where all fit a signed byte; else what makes the lowest 0. */
export function offsetOf({ levels, fineFirst }: Code): number {
  if (fineFirst !== undefined) return 0 - fineFirst
  const low = levels[0]
  if (low >= 0) return 0
  return isPlain(levels) ? 128 : -low
}

/** Whether levels, which fit a byte, are all in -128..127 or all in 0..255. */
export function isPlain(levels: number[]): boolean {
  const [low, high] = [levels[0], levels[levels.length - 1]]
  return low >= 0 || (low >= -128 && high <= 127)
}

/** 1 / step of each column of a code with factors, which replace {@link EncoderValues.inverseStep}. */
export const inverseStepsOf = (code: Code, width: number): Float32Array => stepsOf(code, width).map((step) => 1 / step)

/** The bytes that native code would store for rows of `width` floats. */
export function encodeRows(code: Code, offset: number, rows: Float32Array, width: number): Uint8Array {
  const { low, high, table } = encoderOf(code, offset)
  const inverse = inverseStepsOf(code, width)
  return Uint8Array.from(rows, (x, i) => {
    const v = Math.fround(x * inverse[i % width])
    if (table) return table[Math.min(Math.max(Math.floor(2 * v) + 2 * offset, 0), TABLE_BYTES - 1)]
    return roundHalfEven(Math.min(Math.max(v, low), high)) + offset
  })
}

/** Half to even, for |x| < 2^51: the sum has no bits left for fractions and is rounded as all sums are. */
export const roundHalfEven = (x: number): number => x + ROUND - ROUND
const ROUND = 1.5 * 2 ** 52

/** The byte of the nearest level for each half step; a midpoint goes up. */
export function encodeTable(levels: number[], offset: number): Uint8Array {
  const table = new Uint8Array(TABLE_BYTES)
  let nearest = 0
  for (let i = 0; i < TABLE_BYTES; i++) {
    const value = i / 2 - offset
    while (nearest + 1 < levels.length && value >= (levels[nearest] + levels[nearest + 1]) / 2) nearest++
    table[i] = levels[nearest] + offset
  }
  return table
}
