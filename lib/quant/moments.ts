import type { breather } from '../codes/breathe.js'
import { prepareWeights } from '../graph/constants.js'
import type { Graph, Tensor } from '../graph/graph.js'
import { lower } from '../graph/lower.js'
import { Session } from '../runtime/session.js'
import type { Calibration, RunOptions } from './observe.js'
import { multiplyRows } from './product.js'

/**
 * E[x x^T] over all rows of edges of a graph on the calibration images.
 *
 * @returns by edge, [width][width], symmetric
 */
export async function edgeMoments(
  graph: Graph,
  edges: string[],
  { pixels, images }: Calibration,
  { threads, signal }: RunOptions,
): Promise<Map<string, Float32Array>> {
  const products = new Map(edges.map((edge) => [edge, { left: edge, right: edge }]))
  await prepareWeights(graph, null, signal)
  const { plan, sums } = lower(graph, null, { outputs: [], products })
  const session = new Session(plan, { threads })
  try {
    await session.run(pixels, images, { signal, lent: true })
  } finally {
    session.dispose()
  }
  return new Map(
    edges.map((edge) => {
      const { rows, width } = graph.edges.get(edge) as { rows: number; width: number }
      const bytes = new Uint8Array(4 * width * width)
      sums.get(edge)?.read(0, bytes)
      return [edge, new Float32Array(bytes.buffer).map((x) => x / (rows * images))]
    }),
  )
}

/** Each [width][width]. */
export interface JointMoments {
  /** Cov[x, y] */
  cross: Float64Array
  /** Cov[y, y] */
  own: Float64Array
}

/**
 * Covariances over rows of two edges with as many columns.
 *
 * @param x [rows][width]
 * @param y [rows][width]
 * @param weights [rows] how much each row counts, or null: all alike; means are those of all rows alike
 */
export async function jointMoments(
  x: Float32Array,
  y: Float32Array,
  width: number,
  breathe: ReturnType<typeof breather>,
  options: RunOptions = {},
  weights: Float32Array | null = null,
): Promise<JointMoments> {
  const scales = scalesOf(weights ?? new Float32Array(y.length / width).fill(1))
  const columns = await columnsOf(y, width, scales, breathe)
  const own: Tensor = { shape: [width, y.length / width], data: columns }
  // The product of columns: its rows are columns of the samples.
  const product = async (left: Float32Array) => Float64Array.from(await multiplyRows(left, own, options))
  return { cross: await product(await columnsOf(x, width, scales, breathe)), own: await product(columns) }
}

/** Cov[y, y] of parts with as many rows each. */
export function meanOwn(parts: JointMoments[]): Float64Array {
  const mean = new Float64Array(parts[0].own.length)
  for (const { own } of parts) for (let i = 0; i < mean.length; i++) mean[i] += own[i] / parts.length
  return mean
}

/** [width] */
export async function columnMeans(rows: Float32Array, width: number, breathe: () => Promise<void> | void): Promise<Float64Array> {
  const count = rows.length / width
  const mean = new Float64Array(width)
  for (let t = 0, i = 0; t < count; t++) {
    for (let j = 0; j < width; j++, i++) mean[j] += rows[i] / count
    if (t % 16 === 0) await breathe()
  }
  return mean
}

/** Of rows, so that the weighed mean of their products is a sum. */
function scalesOf(weights: Float32Array): Float32Array {
  const total = weights.reduce((sum, w) => sum + w, 0)
  return weights.map((w) => Math.sqrt(w / total))
}

/** [width][rows], without the means, times the scale of each row. */
async function columnsOf(
  samples: Float32Array,
  width: number,
  scales: Float32Array,
  breathe: ReturnType<typeof breather>,
): Promise<Float32Array> {
  const rows = samples.length / width
  const mean = await columnMeans(samples, width, breathe)
  const columns = new Float32Array(samples.length)
  // Sixteen rows together, which are a line of the cache of each column.
  for (let from = 0; from < rows; from += 16) {
    const to = Math.min(from + 16, rows)
    for (let j = 0; j < width; j++) {
      for (let t = from; t < to; t++) columns[j * rows + t] = scales[t] * (samples[t * width + j] - mean[j])
    }
    await breathe()
  }
  return columns
}
