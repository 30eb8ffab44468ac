import type { breather } from '../codes/breathe.js'
import { cholesky, invertLower } from '../codes/cholesky.js'
import type { Tensor } from '../graph/graph.js'
import type { JointMoments } from './moments.js'
import type { RunOptions } from './observe.js'
import { multiplyRows } from './product.js'

/**
 * Weights that make up for errors of what they multiply, by ridge regression (the idea of ERQ, Zhong et al., ICML 2024, on inputs with all errors of the layers before): with
 * x the input of a layer in the float model and y in the quantized one, each without its mean, which the bias sees to,
 *
 *   W' = argmin E|W x - W' y|^2 + lambda |W' - W|^2  =  W + W (Cov[x, y] - Cov[y, y]) (Cov[y, y] + lambda I)^-1
 */

/**
 * lambda as a fraction of the mean variance of y_j: far more than what keeps the inverse stable. Rows of an image share their errors, so few images hold few independent ones,
 * and with less the weights learn these images' errors by heart.
 */
const RIDGE = 10

/** What a layer's weights are multiplied with to make up for the errors of its inputs. */
export interface Refit {
  /** W -> W', [outputs][width] */
  apply(weight: Tensor): Promise<Tensor>
}

/** @param moments of x and y */
export async function refit(
  { cross, own }: JointMoments,
  width: number,
  breathe: ReturnType<typeof breather>,
  options: RunOptions,
): Promise<Refit> {
  let trace = 0
  for (let j = 0; j < width; j++) trace += own[j * width + j]
  const damped = own.slice()
  for (let j = 0; j < width; j++) damped[j * width + j] += trace > 0 ? (RIDGE * trace) / width : 1
  await cholesky(damped, width, breathe)
  // (L L^T)^-1 = V^T V with V = L^-1.
  const inverse = await invertLower(damped, width, breathe)
  const columns = new Float32Array(width * width)
  for (let i = 0; i < width; i++) for (let j = 0; j <= i; j++) columns[j * width + i] = inverse[i * width + j]
  const square = (data: Float32Array): Tensor => ({ shape: [width, width], data })
  const inverted = await multiplyRows(columns, square(columns), options)
  const difference = Float32Array.from(cross, (c, i) => c - own[i])
  // multiplyRows takes its second factor transposed: this is the transpose of what W is multiplied with.
  const correction = square(await multiplyRows(inverted, square(difference), options))
  return {
    apply: async ({ shape, data }) => {
      const change = await multiplyRows(data, correction, options)
      return { shape, data: data.map((w, i) => w + change[i]) }
    },
  }
}
