import type { breather } from '../codes/breathe.js'
import type { RunOptions } from './observe.js'
import { multiplyRows } from './product.js'

/**
 * E[w x x^T] over sampled rows of an edge.
 *
 * @param samples [rows][width]
 * @param weights [rows] >= 0, or null for 1
 * @returns [width][width], symmetric
 */
export async function secondMoments(
  samples: Float32Array,
  width: number,
  weights: ArrayLike<number> | null,
  breathe: ReturnType<typeof breather>,
  options: RunOptions = {},
): Promise<Float64Array> {
  const rows = samples.length / width
  // The product of columns: its rows are columns of the samples, which carry the square root of a row's weight.
  const columns = new Float32Array(samples.length)
  for (let t = 0; t < rows; t++) {
    const scale = Math.sqrt((weights ? weights[t] : 1) / rows)
    for (let j = 0; j < width; j++) columns[j * rows + t] = scale * samples[t * width + j]
    await breathe()
  }
  return Float64Array.from(await multiplyRows(columns, { shape: [width, rows], data: columns }, options))
}
