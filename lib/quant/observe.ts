import { breather } from '../codes/breathe.js'
import { type Observation, parseObservation } from '../codes/observation.js'
import { prepareWeights } from '../graph/constants.js'
import type { Graph } from '../graph/graph.js'
import { type Lowered, type LowerOptions, lower } from '../graph/lower.js'
import { Session } from '../runtime/session.js'
import { observeLogits } from './logits.js'
import type { ActivationOperand } from './operands.js'

/** Rows of an edge that are kept as they are, spread evenly over the calibration images. */
export const SAMPLE_ROWS = 4096

export interface Calibration {
  /** Normalised pixels, [images][channels][height][width]. */
  pixels: Float32Array
  images: number
}

/** The first images, `most` at most. */
export function firstImages({ pixels, images }: Calibration, most: number): Calibration {
  const count = Math.min(images, most)
  return { images: count, pixels: pixels.subarray(0, (pixels.length / images) * count) }
}

export interface RunOptions {
  threads?: number
  signal?: AbortSignal
  /** Images done. */
  onProgress?: (done: number, total: number) => void
}

/**
 * Runs the float graph over the calibration images with an observer on each operand; logits are looked at apart (logits.ts).
 *
 * @throws Error that names the operand whose values are not all finite, or the logits that are not
 */
export async function observe(
  graph: Graph,
  operands: ActivationOperand[],
  calibration: Calibration,
  options: RunOptions = {},
): Promise<{ observations: Map<string, Observation>; logits: Float32Array }> {
  const edges = operands.filter(({ kind }) => kind !== 'logits')
  const wanted = new Map(
    edges.map(({ name, elements, width }) => {
      const [perImage, rows] = [elements / width, (elements / width) * calibration.images]
      const stride = sampleStride(rows, perImage)
      return [name, { width, sampleRows: Math.min(SAMPLE_ROWS, Math.ceil(rows / stride)), sampleStride: stride }]
    }),
  )
  const { logits, states } = await runObserved(graph, wanted, calibration, options)
  const breathe = breather(options.signal)
  const observations = new Map<string, Observation>()
  for (const [name, { width, sampleRows, sampleStride }] of wanted) {
    const state = states.get(name)
    if (!state) throw new Error(`no observer was placed on ${name}`)
    const bytes = new Uint8Array(state.byteLength)
    state.read(0, bytes)
    // Together, states are the largest that a search holds at any time.
    states.delete(name)
    const observation = parseObservation(bytes, width, sampleRows, sampleStride)
    if (!observation.meanSquare.every(Number.isFinite)) throw notFinite(name)
    observations.set(name, observation)
    await breathe()
  }
  if (!logits.every(Number.isFinite)) throw notFinite(graph.output)
  if (edges.length < operands.length) {
    for (const [name, observation] of await observeLogits(graph, calibration, options)) observations.set(name, observation)
  }
  return { observations, logits }
}

/** What a code with a fine first row has to reach: the first row of each image on edges where that is wanted, [images][width]. */
export async function observeFirstRows(
  graph: Graph,
  operands: ActivationOperand[],
  calibration: Calibration,
  { threads, signal }: RunOptions,
): Promise<Map<string, Float32Array>> {
  const edges = operands.filter(({ fineFirst, kind }) => fineFirst && kind !== 'probabilities')
  if (edges.length === 0) return new Map()
  const wanted = new Map(
    edges.map(({ name, elements, width }) => [name, { width, sampleRows: calibration.images, sampleStride: elements / width }]),
  )
  const { states } = await runObserved(graph, wanted, calibration, { threads, signal })
  return new Map(
    [...wanted].map(([name, { width, sampleRows, sampleStride }]) => {
      const state = states.get(name) as NonNullable<ReturnType<typeof states.get>>
      const bytes = new Uint8Array(state.byteLength)
      state.read(0, bytes)
      return [name, parseObservation(bytes, width, sampleRows, sampleStride).samples]
    }),
  )
}

/** A run apart, so that nothing of its plan is held afterwards but what observers saw. */
async function runObserved(
  graph: Graph,
  wanted: NonNullable<LowerOptions['observe']>,
  { pixels, images }: Calibration,
  { threads, signal, onProgress }: RunOptions,
): Promise<{ logits: Float32Array; states: Lowered['states'] }> {
  await prepareWeights(graph, null, signal)
  const { plan, states } = lower(graph, null, { observe: wanted })
  const session = new Session(plan, { threads })
  try {
    const progress = onProgress && ((done: number) => onProgress(done, images))
    return { logits: await session.run(pixels, images, { signal, onProgress: progress, lent: true }), states }
  } finally {
    session.dispose()
  }
}

const notFinite = (edge: string): Error =>
  new Error(
    `${edge}: the float model computes values that are not finite on the calibration images: look for weights that are far too large, or images that are not like its own`,
  )

/** About rows / most, and without a common divisor with the rows of an image, so that every token gets its turn. */
export function sampleStride(rows: number, rowsPerImage: number, most = SAMPLE_ROWS): number {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))
  let stride = Math.max(1, Math.ceil(rows / most))
  while (gcd(stride, rowsPerImage) !== 1) stride++
  return stride
}
