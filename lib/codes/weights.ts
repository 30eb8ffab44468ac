import { roundHalfEven } from '../graph/encoder.js'
import { isStep } from './code.js'

/** Fractions of the largest magnitude of a row that the largest level stands for. */
const CLIPPING = Array.from({ length: 20 }, (_, i) => 1.02 - 0.035 * i)

export interface RowCode {
  step: number
  loss: number
}

/**
 * The symmetric step of one weight row that minimises sum_i importance[i] (w_i - step * code_i)^2 over a grid of clippings.
 * With importance[i] = E[x_i^2] this is the expected squared error of the output for uncorrelated inputs.
 *
 * @returns step (float32 > 0; 1 for a row of zeros, or of values too small for a step) and its loss
 */
export function searchRow(row: Float32Array, importance: ArrayLike<number>, bits: number): RowCode {
  const steps = stepsFor(row, bits)
  return least(
    steps,
    steps.map((step) => lossOf(row, importance, bits, step)),
  )
}

/**
 * The one step of least error for all rows of a weight.
 *
 * @param rows [outputs][inputs]
 * @param importance [inputs]
 * @param breathe called between rows
 */
export async function searchTensor(
  rows: Float32Array,
  importance: ArrayLike<number>,
  bits: number,
  breathe: () => Promise<void> | void,
): Promise<RowCode> {
  const steps = stepsFor(rows, bits)
  const losses = steps.map(() => 0)
  for (let from = 0; from < rows.length; from += importance.length) {
    const row = rows.subarray(from, from + importance.length)
    for (let s = 0; s < steps.length; s++) losses[s] += lossOf(row, importance, bits, steps[s])
    await breathe()
  }
  return least(steps, losses)
}

/** Those that are tried. */
function stepsFor(values: Float32Array, bits: number): number[] {
  let top = 0
  for (const w of values) top = Math.max(top, Math.abs(w))
  return CLIPPING.map((clip) => Math.fround((clip * top) / (2 ** (bits - 1) - 0.5))).filter(isStep)
}

function lossOf(row: Float32Array, importance: ArrayLike<number>, bits: number, step: number): number {
  const half = 2 ** (bits - 1)
  let loss = 0
  for (let i = 0; i < row.length; i++) {
    const level = Math.min(Math.max(roundHalfEven(row[i] / step), -half), half - 1)
    const e = row[i] - level * step
    loss += importance[i] * e * e
  }
  return loss
}

/** Of equals the first. */
function least(steps: number[], losses: number[]): RowCode {
  let best = 0
  for (let s = 1; s < steps.length; s++) if (losses[s] < losses[best]) best = s
  return steps.length > 0 ? { step: steps[best], loss: losses[best] } : { step: 1, loss: 0 }
}

/** Levels of one row in -2^(bits-1) .. 2^(bits-1)-1, rounding half to even. */
export function encodeRow(row: Float32Array, step: number, bits: number, target: Int8Array): void {
  const half = 2 ** (bits - 1)
  for (let i = 0; i < row.length; i++) {
    target[i] = Math.min(Math.max(roundHalfEven(row[i] / step), -half), half - 1)
  }
}
