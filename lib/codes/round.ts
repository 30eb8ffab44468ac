import { encoderOf, roundHalfEven } from '../graph/encoder.js'
import { stepsOf } from '../graph/factors.js'
import type { Code } from '../graph/scheme.js'

/** Values rounded between two chances for the event loop. */
const SLICE = 1 << 15

/**
 * Replaces each value by what its code stands for, the nearest level times the step: the arithmetic of native/ops/encode.h.
 *
 * @param values [rows][width]
 */
export async function roundValues(values: Float32Array, code: Code, width: number, breathe: () => Promise<void> | void): Promise<void> {
  const { offset, low, high, table: bytes } = encoderOf(code)
  const steps = code.factors ? stepsOf(code, width) : Float32Array.of(code.step)
  const inverses = steps.map((step) => 1 / step)
  const columns = steps.length
  const table = bytes && Float64Array.from(bytes, (byte) => byte - offset)
  const last = table ? table.length - 1 : 0
  for (let from = 0; from < values.length; from += SLICE) {
    const to = Math.min(from + SLICE, values.length)
    for (let i = from; i < to; i++) {
      const column = i % columns
      const v = Math.fround(values[i] * inverses[column])
      const level = table
        ? table[Math.min(Math.max(Math.floor(2 * v) + 2 * offset, 0), last)]
        : roundHalfEven(Math.min(Math.max(v, low), high))
      values[i] = level * steps[column]
    }
    await breathe()
  }
}
