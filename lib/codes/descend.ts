import type { Tensor } from '../graph/graph.js'
import { isStep } from './code.js'
import { type Compensator, encodeRowsCompensated, type Multiply } from './compensate.js'

/**
 * Weight rows with less error than one pass of compensation leaves: at the best of a few steps, and with levels that are moved once more
 * when all are known.
 */

/** Of the step that is best without compensation. Which of them is best with it is mostly luck, different for each row. */
const STEPS = [1, 1.04, 0.96, 1.08, 0.92]
/** Levels moved in a row of n weights, n times this at most; a twentieth of n is usual. */
const MOVES = 1

/**
 * @param weight [outputs][width]
 * @param starts [outputs], the steps by which others are tried
 * @returns levels in -2^(bits-1) .. 2^(bits-1)-1, [outputs][width], and the steps
 */
export async function encodeRowsSearched(
  { shape: [outputs, width], data }: Tensor,
  starts: Float32Array,
  bits: number,
  compensator: Compensator,
  multiply: Multiply,
  breathe: () => Promise<void> | void,
): Promise<{ levels: Int8Array; steps: Float32Array }> {
  // All rows at one step behind all rows at another.
  const [rows, tried] = [new Float32Array(STEPS.length * data.length), new Float32Array(STEPS.length * outputs)]
  for (const [i, factor] of STEPS.entries()) {
    rows.set(data, i * data.length)
    for (let o = 0; o < outputs; o++) tried[i * outputs + o] = isStep(Math.fround(factor * starts[o])) ? factor * starts[o] : starts[o]
  }
  const found = await encodeRowsCompensated(rows, tried, bits, compensator, multiply, breathe)
  const steps = new Float32Array(outputs)
  const levels = new Int8Array(data.length)
  for (let o = 0; o < outputs; o++) {
    let best = o
    for (let r = o; r < tried.length; r += outputs) if (found.losses[r] < found.losses[best]) best = r
    steps[o] = tried[best]
    levels.set(found.levels.subarray(best * width, (best + 1) * width), o * width)
  }
  const errors = new Float32Array(data.length)
  for (let o = 0, i = 0; o < outputs; o++) for (let j = 0; j < width; j++, i++) errors[i] = data[i] - levels[i] * steps[o]
  const gradients = await multiply(errors, compensator.damped)
  for (let o = 0; o < outputs; o++) {
    const [from, to] = [o * width, (o + 1) * width]
    descend(levels.subarray(from, to), gradients.subarray(from, to), steps[o], bits, compensator.damped.data)
    await breathe()
  }
  return { levels, steps }
}

/**
 * Moves levels of a row by one, first the one that helps most, for as long as that lowers e^T H e with e = w - q: compensation settles
 * column after column and takes nothing back. A level that goes up by d = 1 or -1 changes the sum by s^2 H_jj - 2 d s (H e)_j, s being the
 * step.
 *
 * @param levels [width], changed
 * @param gradient H e, [width], changed
 * @param damped H, [width][width]
 */
function descend(levels: Int8Array, gradient: Float32Array, step: number, bits: number, damped: Float32Array): void {
  const width = levels.length
  const half = 2 ** (bits - 1)
  for (let move = 0; move < MOVES * width; move++) {
    let most = 0
    let column = -1
    let direction = 0
    for (let j = 0; j < width; j++) {
      const d = gradient[j] > 0 ? 1 : -1
      const gain = 2 * d * step * gradient[j] - step * step * damped[j * (width + 1)]
      if (gain <= most || levels[j] + d >= half || levels[j] + d < -half) continue
      most = gain
      column = j
      direction = d
    }
    if (column < 0) return
    levels[column] += direction
    for (let j = 0; j < width; j++) gradient[j] -= direction * step * damped[column * width + j]
  }
}
