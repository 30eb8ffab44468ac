import { observedWidth, parseObservation } from '../codes/observation.js'
import { prepareWeights } from '../graph/constants.js'
import type { GradientGraph, Share } from '../graph/gradient.js'
import { type LowerOptions, lower } from '../graph/lower.js'
import type { NativeBlob } from '../runtime/blobs.js'
import { Session } from '../runtime/session.js'
import type { Calibration, RunOptions } from './observe.js'

/**
 * Gradients of any loss over calibration images, from its gradient with respect to the logits.
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
  const { plan, states } = lower(graph, null, { outputs: [], observe: observers })
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
      const state = bytesOf(states.get(gradient) as NativeBlob)
      const width = observedWidth(state.length, sampleRows)
      const { meanSquare, samples } = parseObservation(state, width, sampleRows, sampleStride)
      if (!meanSquare.every(Number.isFinite)) throw new Error(`${edge}: its gradients on the calibration images are not all finite`)
      return [edge, { meanSquare, samples: [samples] }]
    }),
  )
}

/**
 * The gradient of a loss, summed over the calibration images, with respect to constants of the model.
 *
 * @param seeds [images][logits]: the gradient of the loss with respect to the logits
 * @param names weights and biases of linear layers, gamma and beta of LayerNorm, factors
 * @returns in the layout of the constants
 * @throws Error that names a constant which has no gradient, or whose gradient is not finite
 */
export async function constantGradients(
  { graph, constants }: GradientGraph,
  calibration: Calibration,
  seeds: Float32Array,
  names: string[],
  options: RunOptions = {},
): Promise<Map<string, Float32Array>> {
  const products: NonNullable<LowerOptions['products']> = new Map()
  const observe: NonNullable<LowerOptions['observe']> = new Map()
  const sharesOf = (name: string): Share[] => {
    const shares = constants.get(name)
    if (!shares) throw new Error(`${name}: there is no gradient with respect to this constant`)
    return shares
  }
  for (const share of names.flatMap(sharesOf)) {
    if ('rows' in share) observe.set(share.rows, { sampleRows: 0, sampleStride: 1 })
    else products.set(keyOf(share), share)
  }
  await prepareWeights(graph, null, options.signal)
  const { plan, states, sums } = lower(graph, null, { outputs: [], observe, products })
  const session = new Session(plan, { threads: options.threads })
  try {
    await runSeeded(session, calibration, seeds, options)
  } finally {
    session.dispose()
  }
  const read = (share: Share): Float32Array => {
    if (!('rows' in share)) return new Float32Array(bytesOf(sums.get(keyOf(share)) as NativeBlob).buffer)
    const state = bytesOf(states.get(share.rows) as NativeBlob)
    const { count, mean } = parseObservation(state, observedWidth(state.length, 0), 0, 1)
    return Float32Array.from(mean, (x) => x * count)
  }
  return new Map(
    names.map((name) => {
      const [first, ...others] = sharesOf(name).map(read)
      for (const other of others) for (let i = 0; i < first.length; i++) first[i] += other[i]
      if (!first.every(Number.isFinite)) throw new Error(`${name}: its gradient on the calibration images is not finite`)
      return [name, first]
    }),
  )
}

const keyOf = ({ left, right }: { left: string; right: string }): string => `${left} ${right}`

function bytesOf(blob: NativeBlob): Uint8Array {
  const bytes = new Uint8Array(blob.byteLength)
  blob.read(0, bytes)
  return bytes
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
      lent: true,
      onProgress: (done) => options.onProgress?.(first + done, images),
    })
  }
}
