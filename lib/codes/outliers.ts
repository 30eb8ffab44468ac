import { outlierFactors } from '../graph/factors.js'
import { uniformCode } from './code.js'
import type { Observation } from './observation.js'
import type { Found } from './search.js'

/**
 * O-2SF (TSPTQ-ViT): two steps for the channels of a LayerNorm input, d for normal channels and d 2^m for outliers, signed and symmetric.
 *
 * The paper leaves the rule open; ours is by error: with d and m given, a channel is an outlier when the coarse step costs it less. Both are searched,
 * so that no threshold has to be tuned.
 */

/** Steps of a channel that are tried: this many to the octave. */
const STEPS_AN_OCTAVE = 4
/** Normal channels may have a step that is 2^-OCTAVES of what the farthest value needs. */
const OCTAVES = 8
const LARGEST_M = 7
/** Rows looked at, which are enough for one number a channel. */
const ROWS = 256

/** Whether a channel reaches this many times as far as the one in the middle; else two steps gain nothing. */
const FAR = 3

export function hasOutliers({ min, max }: Pick<Observation, 'min' | 'max'>): boolean {
  const reaches = Array.from(max, (x, j) => Math.max(x, -min[j])).sort((a, b) => a - b)
  return reaches[reaches.length - 1] > FAR * reaches[reaches.length >> 1]
}

/**
 * @param importance [width] of a squared error in each column, or null for 1
 * @param rowWeights [sampled rows], of mean 1, or null for 1
 * @returns the code of least error, and the weighted squared error of all sampled rows as {@link Histogram} counts it
 */
export async function searchOutliers(
  observation: Observation,
  bits: number,
  importance: ArrayLike<number> | null,
  rowWeights: ArrayLike<number> | null,
  breathe: () => Promise<void> | void,
): Promise<Found> {
  const { width, min, max } = observation
  const half = 2 ** (bits - 1)
  let reach = 0
  for (let j = 0; j < width; j++) reach = Math.max(reach, max[j], -min[j])
  const top = reach > 0 ? reach / (half - 0.5) : 1
  const steps = Array.from({ length: STEPS_AN_OCTAVE * OCTAVES + 1 }, (_, i) => top * 2 ** (-i / STEPS_AN_OCTAVE))
  const losses: Float64Array[] = []
  for (const step of steps) losses.push(await columnLosses(observation, step, half, rowWeights, breathe))
  const weight = (j: number) => (importance ? importance[j] : 1)
  let best = { fine: 0, m: 0, loss: Number.POSITIVE_INFINITY }
  for (let m = 0; m <= LARGEST_M; m++) {
    for (let fine = m * STEPS_AN_OCTAVE; fine < steps.length; fine++) {
      const coarse = fine - m * STEPS_AN_OCTAVE
      let loss = 0
      for (let j = 0; j < width; j++) loss += weight(j) * Math.min(losses[fine][j], losses[coarse][j])
      if (loss < best.loss) best = { fine, m, loss }
    }
  }
  const { fine, m, loss } = best
  const coarse = fine - m * STEPS_AN_OCTAVE
  const outliers = Array.from({ length: width }, (_, j) => losses[coarse][j] < losses[fine][j])
  const code = uniformCode(bits, steps[fine], -half)
  return { code: { ...code, family: 'o2sf', factors: outlierFactors(outliers, m) }, loss }
}

/** [width] squared errors of a symmetric uniform code, as if all sampled rows had been looked at. */
async function columnLosses(
  { samples, width, min, max, count }: Observation,
  step: number,
  half: number,
  rowWeights: ArrayLike<number> | null,
  breathe: () => Promise<void> | void,
): Promise<Float64Array> {
  const losses = new Float64Array(width)
  const rows = samples.length / width
  const stride = Math.max(1, Math.floor(rows / ROWS))
  const squared = (x: number) => {
    const level = Math.min(Math.max(Math.round(x / step), -half), half - 1)
    return (x - level * step) ** 2
  }
  for (let t = 0; t < rows; t += stride) {
    const share = stride * (rowWeights ? rowWeights[t] : 1)
    for (let j = 0; j < width; j++) losses[j] += share * squared(samples[t * width + j])
    if (t % (16 * stride) === 0) await breathe()
  }
  // The extremes are hardly ever among the samples; a sampled row stands for count / rows rows, each of them for one.
  for (let j = 0; j < width; j++) losses[j] += (rows / count) * (squared(min[j]) + squared(max[j]))
  return losses
}
