import { logSoftmax } from '../codes/divergence.js'
import { gradientGraph } from '../graph/gradient.js'
import type { Graph } from '../graph/graph.js'
import type { probabilitiesOf } from '../graph/scheme.js'
import { randomUniform } from '../random.js'
import { runGraph } from './evaluate.js'
import { type GradientStatistics, observeGradients, type Sampling } from './gradients.js'
import type { Calibration, RunOptions } from './observe.js'

/**
 * How much the loss minds an error of each column of an edge: the diagonal of the Fisher information, E[(dCE(z, y) / dx)^2] with labels y
 * drawn from the model's own prediction softmax(z). It needs no labels and, unlike the gradient of the divergence from the model to itself,
 * is not zero.
 */

export interface FisherOptions extends RunOptions {
  /** Labels drawn for each image; default 1. */
  draws?: number
  /** Default 0. */
  seed?: number
  /** The float model's logits on the calibration images, where they are known: saves a run. */
  logits?: Float32Array
  /** By edge; gradients of other edges are not sampled. */
  samples?: Map<string, Sampling>
  /** Where the gradients with respect to the logits come from: {@link labelGradients} (default) or {@link signGradients}. */
  seeds?: (logits: Float32Array, classes: number, random: () => number) => Float32Array
}

/**
 * @param edges edges of the graph, or {@link probabilitiesOf} attention nodes
 * @returns by edge, for all of `edges`
 * @throws Error that names an edge on which the logits do not depend, or whose gradients are not all finite
 */
export async function fisher(
  graph: Graph,
  calibration: Calibration,
  edges: string[],
  options: FisherOptions = {},
): Promise<Map<string, GradientStatistics>> {
  const { draws = 1, seed = 0, samples = new Map(), seeds = labelGradients } = options
  if (!(Number.isInteger(draws) && draws >= 1)) throw new RangeError(`draws must be a positive integer, not ${draws}`)
  const { images } = calibration
  const logits =
    options.logits ?? (await runGraph(graph, null, calibration.pixels, images, { threads: options.threads, signal: options.signal }))
  const gradient = gradientGraph(graph)
  const random = randomUniform(seed)
  const total = new Map<string, GradientStatistics>()
  for (let draw = 0; draw < draws; draw++) {
    const found = await observeGradients(gradient, calibration, seeds(logits, logits.length / images, random), edges, samples, {
      ...options,
      onProgress: (done) => options.onProgress?.(draw * images + done, draws * images),
    })
    for (const [edge, { meanSquare, samples }] of found) {
      const sum = total.get(edge) ?? { meanSquare: new Float64Array(meanSquare.length), samples: [] }
      for (let c = 0; c < meanSquare.length; c++) sum.meanSquare[c] += meanSquare[c] / draws
      total.set(edge, { ...sum, samples: [...sum.samples, ...samples] })
    }
  }
  return total
}

/**
 * For each image the gradient of the cross entropy with respect to the logits, softmax(z) - onehot(y), for a label y drawn from softmax(z).
 *
 * @param logits [images][classes]
 * @returns the same shape
 */
export function labelGradients(logits: Float32Array, classes: number, random: () => number): Float32Array {
  const gradients = new Float32Array(logits.length)
  for (let from = 0; from < logits.length; from += classes) {
    const p = logSoftmax(logits, from, classes).map(Math.exp)
    gradients.set(p, from)
    let rest = random()
    let label = 0
    while (label + 1 < classes && rest >= p[label]) rest -= p[label++]
    gradients[from + label] = p[label] - 1
  }
  return gradients
}

/**
 * Gradients with the second moments of {@link labelGradients}, diag(p) - p p^T with p = softmax(z), and less noise, since no draw hangs on
 * a rare label: v = s e - p (s . e), where s = sqrt(p) and e are random signs. Source: (diag(s) - p s^T)(diag(s) - p s^T)^T = diag(p) - p
 * p^T.
 *
 * @param logits [images][classes]
 * @returns the same shape
 */
export function signGradients(logits: Float32Array, classes: number, random: () => number): Float32Array {
  const gradients = new Float32Array(logits.length)
  for (let from = 0; from < logits.length; from += classes) {
    const p = logSoftmax(logits, from, classes).map(Math.exp)
    const signed = p.map((x) => (random() < 0.5 ? -Math.sqrt(x) : Math.sqrt(x)))
    const along = signed.reduce((sum, x) => sum + x, 0)
    for (let k = 0; k < classes; k++) gradients[from + k] = signed[k] - p[k] * along
  }
  return gradients
}

/**
 * Of each sampled row how much the loss minds an error there: the square of its gradient, summed over columns, mean over the draws.
 *
 * @returns [sampled rows]
 */
export function rowEnergies({ meanSquare, samples }: GradientStatistics): Float64Array {
  const width = meanSquare.length
  const energies = new Float64Array(samples[0].length / width)
  for (const gradients of samples) {
    for (let t = 0, i = 0; t < energies.length; t++) {
      let sum = 0
      for (const end = i + width; i < end; i++) sum += gradients[i] * gradients[i]
      energies[t] += sum / samples.length
    }
  }
  return energies
}
