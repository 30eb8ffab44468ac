import type { Graph, NodeOf } from '../graph/graph.js'
import { drift } from './bias.js'
import { tensorOf } from './operands.js'

/**
 * Gamma and beta of a LayerNorm that make up for errors of what it normalises: a line for each channel, from the quantized model's output y to the float
 * model's x, by least squares,
 *
 *   gain_j = Cov[x_j, y_j] / Var[y_j],   y_j' = gain_j (y_j - E y_j) + E x_j,
 *
 * which is norm tweaking (Li et al., AAAI 2024) in closed form, without gradients. A gain below 1 is what noise in y calls for.
 */

/** y -> gain y + shift, each [width]. */
export interface Affine {
  gain: Float64Array
  shift: Float64Array
}

/** Of each column of some rows. */
interface Lines {
  /** Cov[x, y] - Var[y] */
  excess: Float64Array
  /** Var[y] */
  variance: Float64Array
}

/**
 * Rows of an image share their errors: gains depart from 1 by the part alpha of what all images call for on which two halves of them agree, as {@link refit}
 * has it for weights; here for all columns at once,
 *
 *   alpha = <c_1, c_2> / <c, c>,  <a, b> = sum_j a_j b_j Var[y_j],
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
    agreed += slope(first, j) * slope(second, j) * all.variance[j]
    square += slope(all, j) ** 2 * all.variance[j]
  }
  const alpha = square > 0 ? Math.min(Math.max(agreed / square, 0), 1) : 0
  const gain = all.variance.map((_, j) => 1 + alpha * slope(all, j))
  const drifted = await drift(x, y, width, images, breathe)
  const mean = await meansOf(y, width, breathe)
  return { gain, shift: gain.map((g, j) => (1 - g) * mean[j] - drifted[j]) }
}

const slope = ({ excess, variance }: Lines, j: number): number => (variance[j] > 0 ? excess[j] / variance[j] : 0)

async function linesOf([x, y]: Float32Array[], width: number, breathe: () => Promise<void> | void): Promise<Lines> {
  const [meanX, meanY] = [await meansOf(x, width, breathe), await meansOf(y, width, breathe)]
  const [excess, variance] = [new Float64Array(width), new Float64Array(width)]
  const rows = y.length / width
  for (let t = 0; t < rows; t++) {
    for (let j = 0, i = t * width; j < width; j++, i++) {
      const [a, b] = [x[i] - meanX[j], y[i] - meanY[j]]
      excess[j] += ((a - b) * b) / rows
      variance[j] += b ** 2 / rows
    }
    if (t % 16 === 0) await breathe()
  }
  return { excess, variance }
}

async function meansOf(values: Float32Array, width: number, breathe: () => Promise<void> | void): Promise<Float64Array> {
  const mean = new Float64Array(width)
  const rows = values.length / width
  for (let t = 0; t < rows; t++) {
    for (let j = 0, i = t * width; j < width; j++, i++) mean[j] += values[i] / rows
    if (t % 16 === 0) await breathe()
  }
  return mean
}

/** Changes the constants of each of `graphs`, which have the same. */
export function applyAffine(graphs: Graph[], norm: NodeOf<'layernorm'>, { gain, shift }: Affine): void {
  const [gamma, beta] = [tensorOf(graphs[0], norm.gamma), tensorOf(graphs[0], norm.beta)]
  for (const { constants } of graphs) {
    constants.set(norm.gamma, { shape: gamma.shape, data: gamma.data.map((g, j) => gain[j] * g) })
    constants.set(norm.beta, { shape: beta.shape, data: beta.data.map((b, j) => gain[j] * b + shift[j]) })
  }
}
