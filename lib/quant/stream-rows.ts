import { breather } from '../codes/breathe.js'
import type { Observation } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import { runGraph } from './evaluate.js'
import { fisher, rowEnergies, signGradients } from './fisher.js'
import { type Calibration, firstImages, type RunOptions } from './observe.js'
import type { ActivationOperand } from './operands.js'
import { inverseVariances } from './row-weights.js'

/**
 * Rows of the residual stream by which its codes are chosen. Predictions hang on a few of them: the class token, and in some trained models
 * tokens hundreds of times as large as the others, which all others attend to. Rows spread evenly hardly contain them. So rows are drawn,
 * with replacement, as often as the predictions mind an error of the row after LayerNorm: E[|g|^2] sigma^2, with gradients g that have the
 * second moments of those of a log-likelihood at labels drawn from the model (signGradients, fisher.ts) and sigma the standard deviation of
 * the row, by which an error is divided.
 */

/** Images looked at. */
export const IMAGES = 16
/** Rows drawn. */
const ROWS = 1024

export interface DrawnRows {
  /** Of the rows of the first images, ascending. */
  numbers: Int32Array
  /**
   * Among how many rows of an image the predictions are shared out, (sum w)^2 / sum w^2 for rows that are drawn as often as w; mean over
   * images.
   */
  rowsAnImage: number
}

/** By edge. */
export type StreamRows = Map<string, DrawnRows>

/**
 * @param logits of the graph on the calibration images
 * @param most images that rows may be from
 */
export async function drawStreamRows(
  graph: Graph,
  activations: ActivationOperand[],
  calibration: Calibration,
  logits: Float32Array,
  { threads, signal }: RunOptions,
  most = calibration.images,
): Promise<{ rows: StreamRows; samples: Map<string, Float32Array> }> {
  const edges = activations.filter(({ kind }) => kind === 'residual')
  if (edges.length === 0) return { rows: new Map(), samples: new Map() }
  const first = firstImages(calibration, Math.min(IMAGES, most))
  const { images, pixels } = first
  const breathe = breather(signal)
  const gradients = await fisher(
    graph,
    first,
    edges.map(({ name }) => name),
    {
      threads,
      signal,
      logits: logits.subarray(0, (logits.length / calibration.images) * images),
      seeds: signGradients,
      samples: new Map(edges.map(({ name, elements, width }) => [name, { sampleRows: (elements / width) * images, sampleStride: 1 }])),
    },
  )
  const rows: StreamRows = new Map()
  const samples = new Map<string, Float32Array>()
  for (const { name, width } of edges) {
    const values = await runGraph(graph, null, pixels, images, { threads, signal, outputs: [name] })
    const energies = rowEnergies(gradients.get(name) as NonNullable<ReturnType<typeof gradients.get>>)
    const inverse = inverseVariances(values, width)
    const weights = energies.map((energy, t) => energy / inverse[t])
    const numbers = systematic(weights, ROWS)
    rows.set(name, { numbers, rowsAnImage: sharing(weights, images) })
    samples.set(name, rowsOf(values, width, numbers))
    await breathe()
  }
  return { rows, samples }
}

/** (sum w)^2 / sum w^2 of each image's weights, mean over the images; where nothing counts, all count alike. */
function sharing(weights: Float64Array, images: number): number {
  const size = weights.length / images
  let total = 0
  for (let from = 0; from < weights.length; from += size) {
    const own = weights.subarray(from, from + size)
    const [sum, squares] = [own.reduce((a, w) => a + w, 0), own.reduce((a, w) => a + w * w, 0)]
    total += squares > 0 ? sum ** 2 / squares : size
  }
  return total / images
}

/** The rows of these numbers, one after another. */
export function rowsOf(values: Float32Array, width: number, numbers: Int32Array): Float32Array {
  const rows = new Float32Array(numbers.length * width)
  numbers.forEach((t, i) => {
    rows.set(values.subarray(t * width, (t + 1) * width), i * width)
  })
  return rows
}

/** The observations with drawn rows in place of their own, where there are any. */
export function withStreamRows(
  observations: Map<string, Observation>,
  { rows, samples }: Awaited<ReturnType<typeof drawStreamRows>>,
): Map<string, Observation> {
  return new Map(
    [...observations].map(([edge, seen]) => {
      const own = samples.get(edge)
      return [edge, own ? { ...seen, samples: own, rowsAnImage: rows.get(edge)?.rowsAnImage } : seen]
    }),
  )
}

/** Systematic sampling: numbers as often as `count` equally distant points on the line fall into a part as long as their weight. */
export function systematic(weights: Float64Array | Float32Array, count: number): Int32Array {
  let total = 0
  for (const weight of weights) total += weight
  // Where nothing counts, all count alike.
  const even = total > 0 ? 0 : 1
  const distance = (total + even * weights.length) / count
  const drawn = new Int32Array(count)
  for (let i = 0, t = 0, end = weights[0] + even; i < count; i++) {
    while ((i + 0.5) * distance >= end && t + 1 < weights.length) end += weights[++t] + even
    drawn[i] = t
  }
  return drawn
}
