import type { Code } from '../graph/scheme.js'
import type { Observation } from './observation.js'

/**
 * Weighted statistics of the values of an edge on a fine grid, from which the squared error of any code follows in time proportional to
 * its levels: between two neighbouring thresholds every value x becomes the same level l, and
 *
 *   sum h (x - l s)^2 = sum h x^2 - 2 l s sum h x + (l s)^2 sum h,
 *
 * each sum a difference of two prefix sums. Only values in the bin that a threshold cuts can be counted on the wrong side.
 */
export class Histogram {
  /** Range of the values, widened to contain 0. */
  readonly min: number
  readonly max: number
  /** Prefix sums over bins of h, h x, h x^2, side by side: [bins + 1][3], row i sums the bins before i. */
  private readonly sums: Float64Array
  private readonly perBin: number

  /**
   * @param observation its samples, and the extremes of each column: rare outliers are hardly ever among the samples, but they did occur
   * @param weights [width] importance of each column (>= 0), or null for 1
   * @param rowWeights [sampled rows] importance of each row, of mean 1, or null for 1
   */
  static async of(
    observation: Observation,
    weights: ArrayLike<number> | null,
    breathe: () => Promise<void> | void,
    rowWeights: ArrayLike<number> | null = null,
  ): Promise<Histogram> {
    const histogram = new Histogram(observation)
    const { samples, width } = observation
    const columns = Float64Array.from({ length: width }, (_, c) => (weights ? weights[c] : 1))
    for (let t = 0; t * width < samples.length; t++) {
      histogram.addRow(samples, t * width, columns, rowWeights ? rowWeights[t] : 1)
      if (t % 16 === 0) await breathe()
    }
    histogram.addExtremes(observation, columns)
    return histogram
  }

  private constructor(
    observation: Observation,
    private readonly bins = 1 << 14,
  ) {
    this.min = observation.min.reduce((a, b) => Math.min(a, b), 0)
    this.max = observation.max.reduce((a, b) => Math.max(a, b), 0)
    this.perBin = this.max > this.min ? bins / (this.max - this.min) : 1
    this.sums = new Float64Array(3 * (bins + 1))
  }

  /** The last values; sums up. */
  private addExtremes({ samples, width, count, min, max }: Observation, weights: Float64Array): void {
    // A sampled row stands for count / rows rows, an extreme for one.
    const rare = samples.length / width / count
    for (let c = 0; c < width; c++) {
      this.add(min[c], rare * weights[c])
      this.add(max[c], rare * weights[c])
    }
    for (let i = 3; i < this.sums.length; i++) this.sums[i] += this.sums[i - 3]
  }

  private addRow(samples: Float32Array, from: number, weights: Float64Array, rowWeight: number): void {
    for (let c = 0; c < weights.length; c++) this.add(samples[from + c], rowWeight * weights[c])
  }

  private add(x: number, weight: number): void {
    const at = 3 * Math.min(this.bins, (((x - this.min) * this.perBin) | 0) + 1)
    this.sums[at] += weight
    this.sums[at + 1] += weight * x
    this.sums[at + 2] += weight * x * x
  }

  /** Weighted squared error of the code over all values. */
  loss(levels: readonly number[], step: number): number {
    const { bins, sums } = this
    let loss = 0
    let from = 0
    for (let i = 0; i < levels.length; i++) {
      const level = levels[i]
      if (i + 1 < levels.length && levels[i + 1] === level) continue
      const to = i + 1 < levels.length ? this.binAt(((level + levels[i + 1]) / 2) * step, from) : bins
      const x = level * step
      const [a, b] = [3 * from, 3 * to]
      loss += sums[b + 2] - sums[a + 2] - 2 * x * (sums[b + 1] - sums[a + 1]) + x * x * (sums[b] - sums[a])
      from = to
    }
    return Math.max(loss, 0)
  }

  /**
   * Weighted mean of the values that become each level; a level that no value becomes stays as it is.
   *
   * @returns in units of `step`
   */
  centroids(levels: readonly number[], step: number): number[] {
    const { bins, sums } = this
    let from = 0
    return levels.map((level, i) => {
      const to = i + 1 < levels.length ? this.binAt(((level + levels[i + 1]) / 2) * step, from) : bins
      const h = sums[3 * to] - sums[3 * from]
      const mean = h > 0 ? (sums[3 * to + 1] - sums[3 * from + 1]) / h / step : level
      from = to
      return mean
    })
  }

  /**
   * Values that cut the range into parts of equal integral of density^(1/3), the density of levels that is best in the limit of many
   * (Panter and Dite): where the search for a codebook starts.
   */
  companded(count: number): number[] {
    const { bins, sums } = this
    const cumulative = new Float64Array(bins + 1)
    for (let i = 0; i < bins; i++) cumulative[i + 1] = cumulative[i] + Math.cbrt(sums[3 * i + 3] - sums[3 * i])
    let bin = 0
    return Array.from({ length: count }, (_, i) => {
      const target = (cumulative[bins] * (i + 0.5)) / count
      while (bin < bins && cumulative[bin + 1] < target) bin++
      return this.min + (bin + 0.5) / this.perBin
    })
  }

  /** The bin at whose lower edge x lies, not before `from`. */
  private binAt(x: number, from: number): number {
    return Math.max(from, Math.min(this.bins, Math.round((x - this.min) * this.perBin)))
  }

  lossOf(code: Code): number {
    return this.loss(code.levels, code.step)
  }
}
