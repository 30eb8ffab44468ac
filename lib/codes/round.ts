import { encodeTable, offsetOf } from '../graph/encoder.js'
import type { Code } from '../graph/scheme.js'

/** Values rounded between two chances for the event loop. */
const SLICE = 1 << 15

/**
 * Replaces each value by what its code stands for, the nearest level times the step: the arithmetic of native/ops/encode.h.
 */
export async function roundValues(values: Float32Array, code: Code, breathe: () => Promise<void> | void): Promise<void> {
  const offset = offsetOf(code)
  const inverse = Math.fround(1 / code.step)
  const [low, high] = [code.levels[0], code.levels[code.levels.length - 1]]
  const table =
    code.family === 'uniform' ? null : Float64Array.from(encodeTable(code.levels, offset), (byte) => (byte - offset) * code.step)
  const last = table ? table.length - 1 : 0
  for (let from = 0; from < values.length; from += SLICE) {
    const to = Math.min(from + SLICE, values.length)
    for (let i = from; i < to; i++) {
      const v = Math.fround(values[i] * inverse)
      if (table) {
        values[i] = table[Math.min(Math.max(Math.floor(2 * v) + 2 * offset, 0), last)]
        continue
      }
      const clamped = Math.min(Math.max(v, low), high)
      // Adding and subtracting 1.5 * 2^52 rounds a double half to even.
      values[i] = (clamped + 6755399441055744 - 6755399441055744) * code.step
    }
    await breathe()
  }
}
