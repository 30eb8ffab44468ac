import type { Observation } from '../codes/observation.js'

/**
 * Softmax relative to the largest weight of each query. Where a query attends to all keys alike its weights are 1 / tokens, and where it
 * attends to one key they are 0 and 1: no step serves both. The largest is 1 before it is rounded, each query uses all levels, and its
 * codes are divided by their sum when products are (native/ops/attention.h).
 */

export interface RelativeRows {
  observation: Observation
  /** [width] */
  importance: Float64Array
  /** [sampled rows], of mean 1 */
  rowWeights: Float64Array
}

/**
 * What softmax makes in units of the largest of each row. An error of a value in units is `largest` times as large an error of a weight:
 * its square counts largest^2 times, in the row's weight and, as these are of mean 1, in the importance of columns. So losses are those of
 * the weights themselves.
 *
 * @param importance [width] of a squared error in each column, or null for 1
 */
export async function relativeRows(
  { samples, width, ...rest }: Observation,
  importance: ArrayLike<number> | null,
  breathe: () => Promise<void> | void,
): Promise<RelativeRows> {
  const scaled = new Float32Array(samples.length)
  const squares = new Float64Array(samples.length / width)
  for (let t = 0; t < squares.length; t++) {
    const row = samples.subarray(t * width, (t + 1) * width)
    const largest = row.reduce((a, b) => Math.max(a, b), 0)
    squares[t] = largest ** 2
    for (let c = 0; c < width; c++) scaled[t * width + c] = row[c] / largest
    if (t % 64 === 0) await breathe()
  }
  const mean = squares.reduce((sum, x) => sum + x, 0) / squares.length
  return {
    observation: { ...rest, samples: scaled, width, min: new Float64Array(width), max: new Float64Array(width).fill(1) },
    importance: Float64Array.from({ length: width }, (_, c) => mean * (importance ? importance[c] : 1)),
    rowWeights: squares.map((x) => x / mean),
  }
}
