import { type EncoderValues, encoderOf, roundHalfEven } from '../graph/encoder.js'
import { stepsOf } from '../graph/factors.js'
import type { Code } from '../graph/scheme.js'

/** Values rounded between two chances for the event loop. */
const SLICE = 1 << 15

/**
 * Replaces each value by what its code stands for, the nearest level times the step: the arithmetic of native/ops/encode.h.
 *
 * @param values [rows][width]
 * @param imageRows of which the first may be fine; not given: none is
 */
export async function roundValues(
  values: Float32Array,
  code: Code,
  width: number,
  breathe: () => Promise<void> | void,
  imageRows?: number,
): Promise<void> {
  if (code.fineFirst !== undefined && imageRows) return roundFineFirst(values, code, width, breathe, imageRows)
  const encoder = encoderOf(code)
  const steps = stepsOfColumns(code, width)
  const rows = Math.max(1, Math.floor(SLICE / width))
  for (let from = 0; from < values.length; from += rows * width) {
    const slice = values.subarray(from, from + rows * width)
    if (encoder.table) roundByTable(slice, steps, encoder.table, encoder.offset)
    else roundUniform(slice, steps, encoder)
    await breathe()
  }
}

/** First rows by themselves, and the others as they are without. */
async function roundFineFirst(
  values: Float32Array,
  code: Code,
  width: number,
  breathe: () => Promise<void> | void,
  imageRows: number,
): Promise<void> {
  const others = { ...code, fineFirst: undefined }
  for (let from = 0; from < values.length; from += imageRows * width) {
    roundUniform(values.subarray(from, from + width), stepsOfColumns(code, width), encoderOf(code))
    await roundValues(values.subarray(from + width, from + imageRows * width), others, width, breathe)
  }
}

const stepsOfColumns = (code: Code, width: number): Float32Array =>
  code.factors ? stepsOf(code, width) : new Float32Array(width).fill(code.step)

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
