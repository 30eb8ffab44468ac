import type { breather } from '../codes/breathe.js'
import { cholesky, invertLower } from '../codes/cholesky.js'
import type { Tensor } from '../graph/graph.js'
import { type JointMoments, meanOwn } from './moments.js'
import type { RunOptions } from './observe.js'
import { multiplyRows } from './product.js'

/**
 * Weights that make up for errors of what they multiply, by ridge regression (the idea of ERQ, Zhong et al., ICML 2024, on inputs with all
 * errors of the layers before): with x the input of a layer in the float model and y in the quantized one, each without its mean, which the
 * bias sees to,
 *
 *   W' = argmin E|W x - W' y|^2 + lambda |W' - W|^2  =  W + W (Cov[x, y] - Cov[y, y]) (Cov[y, y] + lambda I)^-1
 */

/**
 * lambda as a fraction of the mean variance of y_j: far more than what keeps the inverse stable, since directions of y with little variance
 * have few errors to learn from.
 */
const RIDGE = 3

/** What a layer's weights are multiplied with to make up for the errors of its inputs. */
export interface Refit {
  /** W -> W', [outputs][width] */
  apply(weight: Tensor): Promise<Tensor>
}

/**
 * Rows of an image share their errors, so that many rows hold few independent ones, and part of what they call for is these images' chance.
 * Two halves of the images tell how much: with c_1 and c_2 the changes of W that each calls for, and their mean c applied, the part alpha
 * of c that both agree on is kept,
 *
 *   alpha = <c_1, c_2> / <c, c>,  <a, b> = tr(a Cov[y, y] b^T),
 *
 * which is the factor of least expected error at the output when c_1 and c_2 are the right change plus independent errors.
 *
 * @param halves moments of x and y on as many images each; without two of them nothing is changed
 */
export async function refit(
  halves: JointMoments[],
  width: number,
  breathe: ReturnType<typeof breather>,
  options: RunOptions,
): Promise<Refit> {
  if (halves.length < 2) return { apply: async (weight) => weight }
  const own = meanOwn(halves)
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
  const corrections: Tensor[] = []
  for (const { cross, own } of halves) {
    const difference = new Float32Array(own.length)
    for (let i = 0; i < own.length; i++) difference[i] = cross[i] - own[i]
    // multiplyRows takes its second factor transposed: this is the transpose of what W is multiplied with.
    corrections.push(square(await multiplyRows(inverted, square(difference), options)))
  }
  const covariance = square(Float32Array.from(own))
  return {
    apply: async ({ shape, data }) => {
      const [first, second] = [await multiplyRows(data, corrections[0], options), await multiplyRows(data, corrections[1], options)]
      const change = middle(first, second)
      const agreed = dot(await multiplyRows(first, covariance, options), second)
      const all = dot(await multiplyRows(change, covariance, options), change)
      const alpha = all > 0 ? Math.min(Math.max(agreed / all, 0), 1) : 0
      return { shape, data: sum(data, alpha, change) }
    },
  }
}

function middle(a: Float32Array, b: Float32Array): Float32Array {
  const middle = new Float32Array(a.length)
  for (let i = 0; i < a.length; i++) middle[i] = (a[i] + b[i]) / 2
  return middle
}

/** a + factor b */
function sum(a: Float32Array, factor: number, b: Float32Array): Float32Array {
  const sum = new Float32Array(a.length)
  for (let i = 0; i < a.length; i++) sum[i] = a[i] + factor * b[i]
  return sum
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i]
  return sum
}
