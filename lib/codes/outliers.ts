import { roundHalfEven } from '../graph/encoder.js'
import { outlierFactors } from '../graph/factors.js'
import type { Code } from '../graph/scheme.js'
import { uniformCode } from './code.js'
import { everyNthRow, type Observation } from './observation.js'
import type { Found } from './search.js'
import type { StreamLoss } from './stream-loss.js'

/**
 * O-2SF (TSPTQ-ViT): two steps for the channels of an edge, d for normal channels and d 2^m for outliers, signed and symmetric. The paper
 * leaves open which channels are outliers; both rules here are ours.
 */

/** Steps of a channel that are tried: this many to the octave. */
const STEPS_AN_OCTAVE = 4
/** Normal channels may have a step that is 2^-OCTAVES of what the farthest value needs. */
const OCTAVES = 8
const LARGEST_M = 7
/** Of all pairs of steps so many are tried, those that promise most. */
const TRIED = 16

const twoSteps = (bits: number, step: number, outliers: ArrayLike<boolean>, m: number): Code => ({
  ...uniformCode(bits, step, -(2 ** (bits - 1))),
  family: 'o2sf',
  factors: outlierFactors(outliers, m),
})

/** Steps from the one that codes everything down, finer by 2^(1 / STEPS_AN_OCTAVE) each. */
function stepsFrom(reach: number, bits: number): number[] {
  const top = reach > 0 ? reach / (2 ** (bits - 1) - 0.5) : 1
  return Array.from({ length: STEPS_AN_OCTAVE * OCTAVES + 1 }, (_, i) => top * 2 ** (-i / STEPS_AN_OCTAVE))
}

/**
 * For LayerNorm inputs. Outliers are chosen by error: with d and m given, a channel is an outlier when the coarse step costs it less. Both
 * are searched, so that no threshold has to be tuned. (A power of two for each channel, which the kernels could read, gains nothing on
 * images that were not looked at.)
 *
 * @param losses of the same observation
 * @returns the code of least loss
 */
export async function searchOutliers({ width, min, max }: Observation, bits: number, losses: StreamLoss): Promise<Found> {
  let reach = 0
  for (let j = 0; j < width; j++) reach = Math.max(reach, max[j], -min[j])
  const steps = stepsFrom(reach, bits)
  const columns: Float64Array[] = []
  for (const step of steps) columns.push(await losses.columns(step, bits))
  const pairs = steps.flatMap((_, fine) =>
    Array.from({ length: LARGEST_M + 1 }, (_, m) => fine - m * STEPS_AN_OCTAVE)
      .filter((coarse) => coarse >= 0)
      .map((coarse) => ({ fine, coarse, estimate: columns[fine].reduce((sum, loss, j) => sum + Math.min(loss, columns[coarse][j]), 0) })),
  )
  pairs.sort((a, b) => a.estimate - b.estimate)
  let best: Found | null = null
  for (const { fine, coarse } of pairs.slice(0, TRIED)) {
    const outliers = Array.from(columns[coarse], (loss, j) => loss < columns[fine][j])
    const code = twoSteps(bits, steps[fine], outliers, (fine - coarse) / STEPS_AN_OCTAVE)
    const loss = await losses.of(code)
    if (best === null || loss < best.loss) best = { code, loss }
  }
  return best as Found
}

/** Below this GELU gives nothing: GELU(-5) = -1.4e-6. */
const GELU_IS_ZERO = -5
/** Rows by which the fine step is chosen. */
const REACH_ROWS = 512

/**
 * For what GELU reads. Some trained models make one hidden unit hundreds of times as large as all others, in one row of an image; to clip
 * it costs what no error to second order tells. So outliers are the channels that reach farther than the fine step does, and the coarse
 * step, the finest that does, clips nothing that was seen; the fine step is searched.
 *
 * @param importance [width] of a squared error in each column, or null for 1
 * @returns with the weighted squared error of all sampled rows, estimated from some of them
 */
export async function searchReach(
  { samples, width, min, max }: Observation,
  bits: number,
  importance: ArrayLike<number> | null,
  breathe: () => Promise<void> | void,
): Promise<Found> {
  const half = 2 ** (bits - 1)
  const reaches = Array.from(max, (x, j) => Math.max(x, -Math.max(min[j], GELU_IS_ZERO)))
  const farthest = reaches.reduce((a, b) => Math.max(a, b), 0)
  const stride = Math.max(1, Math.floor(samples.length / width / REACH_ROWS))
  const looked = everyNthRow(samples, width, stride)
  let best: Found | null = null
  for (const step of stepsFrom(farthest, bits)) {
    const m = Math.max(0, Math.ceil(Math.log2(farthest / ((half - 0.5) * step)) - 1e-9))
    if (m > LARGEST_M) break
    const outliers = reaches.map((reach) => m > 0 && reach > (half - 0.5) * step)
    const steps = outliers.map((outlier) => (outlier ? step * 2 ** m : step))
    const loss = stride * reachLoss(looked, steps, half, importance)
    if (best === null || loss < best.loss) best = { code: twoSteps(bits, step, outliers, m), loss }
    await breathe()
  }
  return best as Found
}

/** Weighted squared error of rows before GELU at a step for each column. */
function reachLoss(rows: Float32Array, steps: number[], half: number, importance: ArrayLike<number> | null): number {
  let loss = 0
  for (let i = 0; i < rows.length; ) {
    for (let j = 0; j < steps.length; j++, i++) {
      const x = Math.max(rows[i], GELU_IS_ZERO)
      const level = Math.min(Math.max(roundHalfEven(x / steps[j]), -half), half - 1)
      loss += (importance ? importance[j] : 1) * (x - level * steps[j]) ** 2
    }
  }
  return loss
}
