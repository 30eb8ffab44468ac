import { logSoftmax } from '../codes/divergence.js'
import { observedWidth, parseObservation } from '../codes/observation.js'
import { prepareWeights } from '../graph/constants.js'
import { type GradientGraph, gradientGraph } from '../graph/gradient.js'
import type { Graph } from '../graph/graph.js'
import { lower } from '../graph/lower.js'
import type { probabilitiesOf } from '../graph/scheme.js'
import { randomUniform } from '../random.js'
import { Session } from '../runtime/session.js'
import type { Calibration, RunOptions } from './observe.js'

/**
 * How much the loss minds an error of each column of an edge: the diagonal of the Fisher information, E[(dCE(z, y) / dx)^2] with labels y drawn
 * from the model's own prediction softmax(z). It needs no labels and, unlike the gradient of the divergence from the model to itself, is not zero.
 */

/** Which rows of an edge are kept, see native/ops/observe.h: those with a number that `sampleStride` divides, `sampleRows` at most. */
export interface Sampling {
  sampleRows: number
  sampleStride: number
}

export interface GradientStatistics {
  /** [width]: the mean of the squared gradient over images and rows (and draws). */
  meanSquare: Float64Array
  /** One [rows][width] for each draw: gradients of the rows that an observer of the edge with the same {@link Sampling} keeps. */
  samples: Float32Array[]
}

export interface FisherOptions extends RunOptions {
  /** Labels drawn for each image; default 1. */
  draws?: number
  /** Default 0. */
  seed?: number
  /** The float model's logits on the calibration images, where they are known: saves a run. */
  logits?: Float32Array
  /** By edge; gradients of other edges are not sampled. */
  samples?: Map<string, Sampling>
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
  const { draws = 1, seed = 0, samples = new Map() } = options
  if (!(Number.isInteger(draws) && draws >= 1)) throw new RangeError(`draws must be a positive integer, not ${draws}`)
  const { images } = calibration
  const logits = options.logits ?? (await logitsOf(graph, calibration, options))
  const gradient = gradientGraph(graph)
  const random = randomUniform(seed)
  const total = new Map<string, GradientStatistics>()
  for (let draw = 0; draw < draws; draw++) {
    const found = await observeGradients(gradient, calibration, labelGradients(logits, logits.length / images, random), edges, samples, {
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
 * Runs a model and its gradient over the calibration images.
 *
 * @param seeds [images][logits]: the gradient of any loss with respect to the logits
 * @param samples by edge; gradients of other edges are not sampled
 */
export async function observeGradients(
  { graph, gradients }: GradientGraph,
  calibration: Calibration,
  seeds: Float32Array,
  edges: string[],
  samples: Map<string, Sampling>,
  options: RunOptions = {},
): Promise<Map<string, GradientStatistics>> {
  const observers = new Map<string, Sampling>()
  for (const edge of edges) {
    const gradient = gradients.get(edge)
    if (gradient === undefined) throw new Error(`${edge}: the logits do not depend on it, or it lies in front of the patches`)
    // Both sides of an addition have one gradient.
    const known = observers.get(gradient)
    const wanted = samples.get(edge) ?? known ?? { sampleRows: 0, sampleStride: 1 }
    if (known?.sampleRows && (known.sampleRows !== wanted.sampleRows || known.sampleStride !== wanted.sampleStride)) {
      throw new Error(`${edge}: another edge with the same gradient is sampled in other rows`)
    }
    observers.set(gradient, wanted)
  }
  await prepareWeights(graph, null, options.signal)
  const { plan, states } = lower(graph, null, { observe: observers })
  const session = new Session(plan, { threads: options.threads })
  try {
    await runSeeded(session, calibration, seeds, options)
  } finally {
    session.dispose()
  }
  return new Map(
    edges.map((edge) => {
      const gradient = gradients.get(edge) as string
      const { sampleRows, sampleStride } = observers.get(gradient) as Sampling
      const blob = states.get(gradient)
      if (!blob) throw new Error(`no observer was placed on the gradient of ${edge}`)
      const bytes = new Uint8Array(blob.byteLength)
      blob.read(0, bytes)
      const width = observedWidth(bytes.length, sampleRows)
      const { meanSquare, samples } = parseObservation(bytes, width, sampleRows, sampleStride)
      if (!meanSquare.every(Number.isFinite)) throw new Error(`${edge}: its gradients on the calibration images are not all finite`)
      return [edge, { meanSquare, samples: [samples] }]
    }),
  )
}

/** Floats of input that are put together at once. */
const CHUNK = 1 << 23

/** Runs the images with their seeds behind them. */
async function runSeeded(session: Session, { pixels, images }: Calibration, seeds: Float32Array, options: RunOptions): Promise<void> {
  const [pixelCount, seedCount] = [pixels.length / images, seeds.length / images]
  const most = Math.max(1, Math.floor(CHUNK / (pixelCount + seedCount)))
  for (let first = 0; first < images; first += most) {
    const count = Math.min(most, images - first)
    const input = new Float32Array(count * (pixelCount + seedCount))
    for (let i = 0; i < count; i++) {
      const image = first + i
      const start = i * (pixelCount + seedCount)
      input.set(pixels.subarray(image * pixelCount, (image + 1) * pixelCount), start)
      input.set(seeds.subarray(image * seedCount, (image + 1) * seedCount), start + pixelCount)
    }
    await session.run(input, count, {
      signal: options.signal,
      onProgress: (done) => options.onProgress?.(first + done, images),
    })
  }
}

async function logitsOf(graph: Graph, { pixels, images }: Calibration, { threads, signal }: RunOptions): Promise<Float32Array> {
  await prepareWeights(graph, null, signal)
  const session = new Session(lower(graph, null).plan, { threads })
  try {
    return await session.run(pixels, images, { signal })
  } finally {
    session.dispose()
  }
}
