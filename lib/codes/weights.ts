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
  let top = 0
  for (const w of row) top = Math.max(top, Math.abs(w))
  const half = 2 ** (bits - 1)
  let best: RowCode | null = null
  for (const clip of CLIPPING) {
    const step = Math.fround((clip * top) / (half - 0.5))
    if (!isStep(step)) continue
    let loss = 0
    for (let i = 0; i < row.length; i++) {
      const level = Math.min(Math.max(roundHalfEven(row[i] / step), -half), half - 1)
      const e = row[i] - level * step
      loss += importance[i] * e * e
    }
    if (best === null || loss < best.loss) best = { step, loss }
  }
  return best ?? { step: 1, loss: 0 }
}

/** Levels of one row in -2^(bits-1) .. 2^(bits-1)-1, rounding half to even. */
export function encodeRow(row: Float32Array, step: number, bits: number, target: Int8Array): void {
  const half = 2 ** (bits - 1)
  for (let i = 0; i < row.length; i++) {
    target[i] = Math.min(Math.max(roundHalfEven(row[i] / step), -half), half - 1)
  }
}
