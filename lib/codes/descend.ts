import { isStep } from './code.js'
import { type Compensator, encodeRowCompensated } from './compensate.js'

/**
 * Weight rows with less error than one pass of compensation leaves: at the best of a few steps, and with levels that are moved once more when all are known.
 */

/** Of the step that is best without compensation. Which of them is best with it is mostly luck, different for each row. */
const STEPS = [1, 1.04, 0.96, 1.08, 0.92]
/** Levels moved in a row of n weights, n times this at most; a tenth of n is usual. */
const MOVES = 2

/**
 * @param row [width] float weights
 * @param start the step by which others are tried
 * @param target [width] levels in -2^(bits-1) .. 2^(bits-1)-1
 * @returns the step
 */
export async function encodeRowSearched(
  row: Float32Array,
  start: number,
  bits: number,
  compensator: Compensator,
  target: Int8Array,
  breathe: () => Promise<void> | void,
): Promise<number> {
  const tried = new Int8Array(row.length)
  let [least, best] = [Number.POSITIVE_INFINITY, start]
  for (const factor of STEPS) {
    const step = Math.fround(factor * start)
    if (!isStep(step)) continue
    const loss = encodeRowCompensated(row, step, bits, compensator, tried, least)
    if (loss < least) {
      ;[least, best] = [loss, step]
      target.set(tried)
    }
    await breathe()
  }
  descend(row, best, bits, compensator, target)
  await breathe()
  return best
}

/**
 * Moves levels by one, first the one that helps most, for as long as that lowers e^T H e with e = w - q: compensation settles column after column and takes nothing
 * back. A level that goes up by d = 1 or -1 changes the sum by s^2 H_jj - 2 d s (H e)_j, s being the step.
 *
 * @param levels [width], changed
 */
export function descend(row: Float32Array, step: number, bits: number, { damped }: Compensator, levels: Int8Array): void {
  const width = row.length
  const half = 2 ** (bits - 1)
  const gradient = new Float64Array(width)
  for (let i = 0; i < width; i++) {
    const error = row[i] - levels[i] * step
    for (let j = 0; j < width; j++) gradient[j] += error * damped[i * width + j]
  }
  for (let move = 0; move < MOVES * width; move++) {
    let [most, column, direction] = [0, -1, 0]
    for (let j = 0; j < width; j++) {
      const d = gradient[j] > 0 ? 1 : -1
      const gain = 2 * d * step * gradient[j] - step * step * damped[j * (width + 1)]
      if (gain <= most || levels[j] + d >= half || levels[j] + d < -half) continue
      ;[most, column, direction] = [gain, j, d]
    }
    if (column < 0) return
    levels[column] += direction
    for (let j = 0; j < width; j++) gradient[j] -= direction * step * damped[column * width + j]
  }
}
