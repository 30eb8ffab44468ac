import { outlierFactors } from '../graph/factors.js'
import { uniformCode } from './code.js'
import type { Observation } from './observation.js'
import type { Found } from './search.js'

/**
 * O-2SF (TSPTQ-ViT): two steps for the channels of a LayerNorm input, d for normal channels and d 2^m for outliers, signed and symmetric.
 *
 * The paper leaves the rule open; ours is by error: with d and m given, a channel is an outlier when the coarse step costs it less. Both are searched,
 * so that no threshold has to be tuned. What counts is the error of LayerNorm's output, not of its input.
 */

/** Steps of a channel that are tried: this many to the octave. */
const STEPS_AN_OCTAVE = 4
/** Normal channels may have a step that is 2^-OCTAVES of what the farthest value needs. */
const OCTAVES = 8
const LARGEST_M = 7
/** Rows looked at. */
const ROWS = 512

/** Whether a channel reaches this many times as far as the one in the middle; else two steps gain nothing. */
const FAR = 3

export function hasOutliers({ min, max }: Pick<Observation, 'min' | 'max'>): boolean {
  const reaches = Array.from(max, (x, j) => Math.max(x, -min[j])).sort((a, b) => a - b)
  return reaches[reaches.length - 1] > FAR * reaches[reaches.length >> 1]
}

/**
 * @param importance [width] of a squared error in each column, or null for 1
 * @returns the code of least error, and that error as {@link Histogram} would count it with rows weighed by their inverse variance
 */
export async function searchOutliers(
  observation: Observation,
  bits: number,
  importance: ArrayLike<number> | null,
  breathe: () => Promise<void> | void,
): Promise<Found> {
  const { width, min, max } = observation
  const half = 2 ** (bits - 1)
  const weights = Float64Array.from({ length: width }, (_, j) => (importance ? importance[j] : 1))
  let reach = 0
  for (let j = 0; j < width; j++) reach = Math.max(reach, max[j], -min[j])
  const top = reach > 0 ? reach / (half - 0.5) : 1
  const steps = Array.from({ length: STEPS_AN_OCTAVE * OCTAVES + 1 }, (_, i) => top * 2 ** (-i / STEPS_AN_OCTAVE))
  const rows = new Rows(observation)
  const losses: Float64Array[] = []
  for (const step of steps) {
    losses.push(rows.columnLosses(step, half))
    await breathe()
  }
  let best: Found | null = null
  for (let fine = 0; fine < steps.length; fine++) {
    for (let m = 0; m <= LARGEST_M && m * STEPS_AN_OCTAVE <= fine; m++) {
      const coarse = fine - m * STEPS_AN_OCTAVE
      const outliers = Array.from({ length: width }, (_, j) => losses[coarse][j] < losses[fine][j])
      const factors = outlierFactors(outliers, m)
      const loss = rows.normalisedLoss(factors, steps[fine], half, weights)
      if (best === null || loss < best.loss) best = { code: { ...uniformCode(bits, steps[fine], -half), family: 'o2sf', factors }, loss }
      await breathe()
    }
  }
  return best as Found
}

/** Sampled rows of the stream, of which every reader takes (x - mean) / sigma. */
class Rows {
  private readonly rows: Float32Array[] = []
  private readonly statistics: { mean: number; inverse: number }[]
  private readonly coded: Float64Array
  /** From squared errors behind LayerNorm, of the rows looked at, to those of all samples, in units of the stream. */
  private readonly scale: number

  constructor({ samples, width }: Observation) {
    const count = samples.length / width
    const stride = Math.max(1, Math.floor(count / ROWS))
    for (let t = 0; t < count; t += stride) this.rows.push(samples.subarray(t * width, (t + 1) * width))
    this.statistics = this.rows.map(normalOf)
    this.coded = new Float64Array(width)
    this.scale = count / this.statistics.reduce((sum, { inverse }) => sum + inverse ** 2, 0)
  }

  /** [width] squared errors of a symmetric uniform code, rows weighed by their inverse variance. */
  columnLosses(step: number, half: number): Float64Array {
    const losses = new Float64Array(this.coded.length)
    this.rows.forEach((row, t) => {
      const weight = this.statistics[t].inverse ** 2
      for (let j = 0; j < row.length; j++) losses[j] += weight * (row[j] - roundTo(row[j], step, half)) ** 2
    })
    return losses
  }

  /**
   * Squared error behind LayerNorm: a row that is far too large to be coded keeps its direction when it is clipped, and direction is all that is
   * read.
   */
  normalisedLoss(factors: Float32Array, step: number, half: number, weights: Float64Array): number {
    let loss = 0
    this.rows.forEach((row, t) => {
      for (let j = 0; j < row.length; j++) this.coded[j] = roundTo(row[j], step * factors[j], half)
      const [exact, coded] = [this.statistics[t], normalOf(this.coded)]
      for (let j = 0; j < row.length; j++) {
        const error = (row[j] - exact.mean) * exact.inverse - (this.coded[j] - coded.mean) * coded.inverse
        loss += weights[j] * error * error
      }
    })
    return this.scale * loss
  }
}

function roundTo(x: number, step: number, half: number): number {
  return Math.min(Math.max(Math.round(x / step), -half), half - 1) * step
}

/** Mean and 1 / standard deviation. */
function normalOf(row: ArrayLike<number>): { mean: number; inverse: number } {
  let [sum, squares] = [0, 0]
  for (let j = 0; j < row.length; j++) {
    sum += row[j]
    squares += row[j] * row[j]
  }
  const mean = sum / row.length
  return { mean, inverse: 1 / Math.sqrt(Math.max(squares / row.length - mean * mean, 1e-12)) }
}
