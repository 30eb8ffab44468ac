import type { Code } from './scheme.js'

/**
 * Codes as native/ops/encode.h wants them.
 */

const TABLE_BYTES = 512

export interface EncoderValues {
  inverseStep: number
  low: number
  high: number
  offset: 0 | 128
  /** Null for a uniform code. */
  table: Uint8Array | null
}

/** @param offset what is added to a level to make the stored byte */
export function encoderOf(code: Code, offset: 0 | 128 = offsetOf(code)): EncoderValues {
  const { levels, family, step } = code
  return {
    inverseStep: Math.fround(1 / step),
    low: levels[0],
    high: levels[levels.length - 1],
    offset,
    table: family === 'uniform' ? null : encodeTable(levels, offset),
  }
}

export const offsetOf = (code: Code): 0 | 128 => (code.levels[0] < 0 ? 128 : 0)

/** The byte of the nearest level for each half step; a midpoint goes up. */
function encodeTable(levels: number[], offset: number): Uint8Array {
  const table = new Uint8Array(TABLE_BYTES)
  let nearest = 0
  for (let i = 0; i < TABLE_BYTES; i++) {
    const value = i / 2 - offset
    while (nearest + 1 < levels.length && value >= (levels[nearest] + levels[nearest + 1]) / 2) nearest++
    table[i] = levels[nearest] + offset
  }
  return table
}
