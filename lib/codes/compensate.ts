import { roundHalfEven } from '../graph/encoder.js'
import type { Tensor } from '../graph/graph.js'
import { cholesky, invertLower } from './cholesky.js'

/**
 * Weight error compensation (OBQ in the order of GPTQ): columns are rounded one after the other, and the error of each is made up for, as
 * far as the inputs' second moments allow, by the columns that are still free.
 *
 *   H = E[x x^T] + lambda I,  U = upper Cholesky factor of H^-1  (H^-1 = U^T U)
 *   e = (w_j - q_j) / U_jj,   w_k -= e U_jk  for k > j
 */

/**
 * Added to the diagonal of H, as a fraction of its mean: images are few, and their moments are not those of others. With a tenth of this
 * the error is up to 7 % more on images that H has not seen, where inputs have heavy tails.
 */
const DAMPING = 0.15

/** What rounding with compensation needs to know of a layer's inputs. */
export interface Compensator {
  /**
   * The columns in the order in which they are rounded: those with the most energy first, while there are many left that can make up for
   * them.
   */
  order: Int32Array
  /** U for the columns in this order, [width][width]. */
  factor: Float64Array
  /** H, columns as they come, [width][width]. */
  damped: Tensor
}

/**
 * @param moments E[x x^T], [width][width]
 * @param breathe called between rows of the work
 */
export async function compensator(moments: Float64Array, width: number, breathe: () => Promise<void> | void): Promise<Compensator> {
  const diagonal = (j: number) => moments[j * width + j]
  const order = Int32Array.from({ length: width }, (_, j) => j).sort((i, j) => diagonal(j) - diagonal(i) || i - j)
  let trace = 0
  for (let j = 0; j < width; j++) trace += diagonal(j)
  const damping = trace > 0 ? (DAMPING * trace) / width : 1
  // With J the reversal of rows and columns, J H J = L L^T makes H = (J L J)(J L J)^T with J L J upper triangular, so that
  // H^-1 = V^T V with V = (J L J)^-1, upper triangular: no explicit inverse of H is needed.
  const damped = moments.slice()
  for (let j = 0; j < width; j++) damped[j * width + j] += damping
  const reversed = new Float64Array(width * width)
  for (let i = 0; i < width; i++) {
    const from = order[width - 1 - i] * width
    for (let j = 0; j < width; j++) reversed[i * width + j] = damped[from + order[width - 1 - j]]
    await breathe()
  }
  await cholesky(reversed, width, breathe)
  const inverse = await invertLower(reversed, width, breathe)
  const factor = new Float64Array(width * width)
  for (let i = 0; i < width; i++) {
    for (let j = i; j < width; j++) factor[i * width + j] = inverse[(width - 1 - i) * width + (width - 1 - j)]
    await breathe()
  }
  return { order, factor, damped: { shape: [width, width], data: Float32Array.from(damped) } }
}

/** Columns that are rounded before what they leave to those behind them is passed on, all at once. */
const BLOCK = 64

/** x W^T for x [rows][inputs] and W [outputs][inputs] */
export type Multiply = (x: Float32Array, weight: Tensor) => Promise<Float32Array>

/**
 * Rounds weight rows with compensation.
 *
 * @param rows [rows][width] float weights
 * @param steps [rows]
 * @returns levels in -2^(bits-1) .. 2^(bits-1)-1, [rows][width], and for each row e^T H e with e = w - q, which is the sum of e^2 above
 */
export async function encodeRowsCompensated(
  rows: Float32Array,
  steps: Float32Array,
  bits: number,
  { order, factor }: Compensator,
  multiply: Multiply,
  breathe: () => Promise<void> | void,
): Promise<{ levels: Int8Array; losses: Float64Array }> {
  const width = order.length
  const half = 2 ** (bits - 1)
  const w = inOrder(rows, order)
  const levels = new Int8Array(rows.length)
  const losses = new Float64Array(steps.length)
  for (let first = 0; first < width; first += BLOCK) {
    const last = Math.min(first + BLOCK, width)
    const size = last - first
    const block = blockOf(factor, first, last, width)
    const rounded = new Int8Array(size)
    const errors = new Float32Array(steps.length * size)
    for (let r = 0; r < steps.length; r++) {
      const own = errors.subarray(r * size, (r + 1) * size)
      losses[r] += roundBlock(w.subarray(r * width + first, r * width + last), steps[r], half, block, rounded, own)
      for (let j = 0; j < size; j++) levels[r * width + order[first + j]] = rounded[j]
      await breathe()
    }
    if (last < width) await subtractFrom(w, last, width, await multiply(errors, behind(factor, first, last, width)), breathe)
  }
  return { levels, losses }
}

/** [rows][width] with the columns in this order. */
function inOrder(rows: Float32Array, order: Int32Array): Float32Array {
  const width = order.length
  const ordered = new Float32Array(rows.length)
  for (let from = 0; from < rows.length; from += width) for (let j = 0; j < width; j++) ordered[from + j] = rows[from + order[j]]
  return ordered
}

/** U of the columns of a block, [last - first][last - first]. */
function blockOf(factor: Float64Array, first: number, last: number, width: number): Float64Array {
  const size = last - first
  const block = new Float64Array(size * size)
  for (let j = 0; j < size; j++) block.set(factor.subarray((first + j) * width + first, (first + j) * width + last), j * size)
  return block
}

/**
 * Rounds the columns of a block in one row, which is changed.
 *
 * @param errors e of each column, as they are passed on
 * @returns the sum of e^2
 */
function roundBlock(row: Float32Array, step: number, half: number, block: Float64Array, levels: Int8Array, errors: Float32Array): number {
  const size = row.length
  let loss = 0
  for (let j = 0; j < size; j++) {
    const level = Math.min(Math.max(roundHalfEven(row[j] / step), -half), half - 1)
    const error = (row[j] - level * step) / block[j * size + j]
    loss += error * error
    for (let k = j + 1; k < size; k++) row[k] -= error * block[j * size + k]
    levels[j] = level
    errors[j] = error
  }
  return loss
}

/** U of the columns behind a block, transposed: [width - last][last - first] */
function behind(factor: Float64Array, first: number, last: number, width: number): Tensor {
  const data = new Float32Array((width - last) * (last - first))
  for (let k = last, i = 0; k < width; k++) for (let j = first; j < last; j++, i++) data[i] = factor[j * width + k]
  return { shape: [width - last, last - first], data }
}

/** Subtracts from the columns of each row that begin at `last`. */
async function subtractFrom(
  w: Float32Array,
  last: number,
  width: number,
  passed: Float32Array,
  breathe: () => Promise<void> | void,
): Promise<void> {
  for (let from = 0, i = 0; from < w.length; from += width) {
    for (let k = last; k < width; k++, i++) w[from + k] -= passed[i]
    await breathe()
  }
}
