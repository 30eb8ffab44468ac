import type { Graph, NodeOf } from '../graph/graph.js'
import { drift } from './bias.js'
import { columnMeans } from './moments.js'
import { tensorOf } from './operands.js'

/**
 * Gamma and beta of a LayerNorm that make up for errors of what it normalises (the idea of norm tweaking, Li et al., AAAI 2024, in closed
 * form): noise in the stream raises the standard deviation that LayerNorm divides by, so that the signal comes out smaller. With y = a x +
 * noise in each channel, x in the float model and y in the quantized one,
 *
 *   y_j' = gain_j (y_j - E y_j) + E x_j,   gain_j = 1 / a_j = Var[x_j] / Cov[x_j, y_j].
 *
 * That gives the signal its size back. The line of least squares, Cov / Var[y], would shrink it once more; what can be done about the noise
 * is left to the weights behind.
 */

/** Gains beyond this, or below its inverse, are none. */
const MOST = 2

/** y -> gain y + shift, each [width]. */
export interface Affine {
  gain: Float64Array
  shift: Float64Array
}

/** Of each column of some rows. */
interface Lines {
  /** Var[x] - Cov[x, y] */
  lost: Float64Array
  /** Cov[x, y] */
  shared: Float64Array
}

/**
 * Rows of an image share their errors: gains depart from 1 by the part alpha of what all images call for on which two halves of them agree,
 * as refit.ts has it for weights; here for all columns at once,
 *
 *   alpha = <c_1, c_2> / <c, c>,  <a, b> = sum_j a_j b_j Cov[x_j, y_j],
 *
 * with c_1, c_2 and c the gains less 1 of either half and of all. Means move by {@link drift}.
 *
 * @param x [rows][width] in the float model
 * @param y [rows][width] in the quantized one
 * @param images among which the rows are divided evenly; of a single one nothing is learned
 */
export async function fitAffine(
  x: Float32Array,
  y: Float32Array,
  width: number,
  images: number,
  breathe: () => Promise<void> | void,
): Promise<Affine> {
  const size = (images >> 1) * (x.length / images)
  const halves = [0, size].map((from) => [x, y].map((values) => values.subarray(from, from + size)))
  const [first, second] = [await linesOf(halves[0], width, breathe), await linesOf(halves[1], width, breathe)]
  const all = await linesOf([x, y], width, breathe)
  let [agreed, square] = [0, 0]
  for (let j = 0; j < width; j++) {
    const weight = Math.max(0, all.shared[j])
    agreed += departure(first, j) * departure(second, j) * weight
    square += departure(all, j) ** 2 * weight
  }
  const alpha = square > 0 ? Math.min(Math.max(agreed / square, 0), 1) : 0
  const gain = all.shared.map((_, j) => 1 + alpha * departure(all, j))
  const drifted = await drift(x, y, width, images, breathe)
  const mean = await columnMeans(y, width, breathe)
  return { gain, shift: gain.map((g, j) => (1 - g) * mean[j] - drifted[j]) }
}

/** Of a gain from 1; a channel that is mostly noise is left alone. */
function departure({ lost, shared }: Lines, j: number): number {
  const gain = shared[j] > 0 ? 1 + lost[j] / shared[j] : 1
  return gain > MOST || gain < 1 / MOST ? 0 : gain - 1
}

async function linesOf([x, y]: Float32Array[], width: number, breathe: () => Promise<void> | void): Promise<Lines> {
  const [meanX, meanY] = [await columnMeans(x, width, breathe), await columnMeans(y, width, breathe)]
  const [lost, shared] = [new Float64Array(width), new Float64Array(width)]
  const rows = y.length / width
  for (let t = 0; t < rows; t++) {
    for (let j = 0, i = t * width; j < width; j++, i++) {
      const [a, b] = [x[i] - meanX[j], y[i] - meanY[j]]
      lost[j] += ((a - b) * a) / rows
      shared[j] += (a * b) / rows
    }
    if (t % 16 === 0) await breathe()
  }
  return { lost, shared }
}

/** Changes the constants of each of `graphs`, which have the same. */
export function applyAffine(graphs: Graph[], norm: NodeOf<'layernorm'>, { gain, shift }: Affine): void {
  const [gamma, beta] = [tensorOf(graphs[0], norm.gamma), tensorOf(graphs[0], norm.beta)]
  for (const { constants } of graphs) {
    constants.set(norm.gamma, { shape: gamma.shape, data: gamma.data.map((g, j) => gain[j] * g) })
    constants.set(norm.beta, { shape: beta.shape, data: beta.data.map((b, j) => gain[j] * b + shift[j]) })
  }
}
