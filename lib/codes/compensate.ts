import { roundHalfEven } from '../graph/encoder.js'
import { cholesky, invertLower } from './cholesky.js'

/**
 * Weight error compensation (OBQ in the order of GPTQ): columns are rounded one after the other, and the error of each is made up for, as far as
 * the inputs' second moments allow, by the columns that are still free.
 *
 *   H = E[x x^T] + lambda I,  U = upper Cholesky factor of H^-1  (H^-1 = U^T U)
 *   e = (w_j - q_j) / U_jj,   w_k -= e U_jk  for k > j
 */

/**
 * Added to the diagonal of H, as a fraction of its mean: images are few, and their moments are not those of others. With a tenth of this the error is up to 7 % more on images
 * that H has not seen, where inputs have heavy tails.
 */
const DAMPING = 0.15

/** What rounding with compensation needs to know of a layer's inputs. */
export interface Compensator {
  /** The columns in the order in which they are rounded: those with the most energy first, while there are many left that can make up for them. */
  order: Int32Array
  /** U for the columns in this order, [width][width]. */
  factor: Float64Array
  /** H, columns as they come, [width][width]. */
  damped: Float64Array
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
  }
  await cholesky(reversed, width, breathe)
  const inverse = await invertLower(reversed, width, breathe)
  const factor = new Float64Array(width * width)
  for (let i = 0; i < width; i++) {
    for (let j = i; j < width; j++) factor[i * width + j] = inverse[(width - 1 - i) * width + (width - 1 - j)]
  }
  return { order, factor, damped }
}

/**
 * Rounds one weight row with compensation.
 *
 * @param row [width] float weights
 * @param target [width] levels in -2^(bits-1) .. 2^(bits-1)-1
 * @param most where the error is known to be more than this, nothing is finished
 * @returns e^T H e of the whole row, e = w - q: the sum of e^2 above; infinite when it is more than `most`
 */
export function encodeRowCompensated(
  row: Float32Array,
  step: number,
  bits: number,
  { order, factor }: Compensator,
  target: Int8Array,
  most = Number.POSITIVE_INFINITY,
): number {
  const width = row.length
  let loss = 0
  const half = 2 ** (bits - 1)
  const w = Float64Array.from(order, (j) => row[j])
  for (let j = 0; j < width; j++) {
    const level = Math.min(Math.max(roundHalfEven(w[j] / step), -half), half - 1)
    target[order[j]] = level
    const at = j * width
    const error = (w[j] - level * step) / factor[at + j]
    loss += error * error
    if (loss > most) return Number.POSITIVE_INFINITY
    for (let k = j + 1; k < width; k++) w[k] -= error * factor[at + k]
  }
  return loss
}
