import { type EncoderValues, encoderOf, roundHalfEven } from '../graph/encoder.js'
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
  const encoder = encoderOf(code)
  const steps = code.factors ? stepsOf(code, width) : new Float32Array(width).fill(code.step)
  const rows = Math.max(1, Math.floor(SLICE / width))
  for (let from = 0; from < values.length; from += rows * width) {
    const slice = values.subarray(from, from + rows * width)
    if (encoder.table) roundByTable(slice, steps, encoder.table, encoder.offset)
    else roundUniform(slice, steps, encoder)
    await breathe()
  }
}

function roundUniform(values: Float32Array, steps: Float32Array, { low, high }: EncoderValues): void {
  const inverses = steps.map((step) => 1 / step)
  for (let i = 0; i < values.length; ) {
    for (let j = 0; j < steps.length; j++, i++) {
      values[i] = roundHalfEven(Math.min(Math.max(Math.fround(values[i] * inverses[j]), low), high)) * steps[j]
    }
  }
}

function roundByTable(values: Float32Array, steps: Float32Array, table: Uint8Array, offset: number): void {
  const inverses = steps.map((step) => 1 / step)
  const last = table.length - 1
  for (let i = 0; i < values.length; ) {
    for (let j = 0; j < steps.length; j++, i++) {
      const half = Math.floor(2 * Math.fround(values[i] * inverses[j])) + 2 * offset
      values[i] = (table[Math.min(Math.max(half, 0), last)] - offset) * steps[j]
    }
  }
}
