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
  /** Prefix sums over bins of h, h x, h x^2; entry i sums the bins before i. */
  private readonly h: Float64Array
  private readonly hx: Float64Array
  private readonly hxx: Float64Array
  private readonly perBin: number

  /**
   * @param observation its samples, and the extremes of each column: rare outliers are hardly ever among the samples, but they did occur
   * @param weights [width] importance of each column (>= 0), or null for 1
   */
  static async of(observation: Observation, weights: ArrayLike<number> | null, breathe: () => Promise<void> | void): Promise<Histogram> {
    const histogram = new Histogram(observation)
    const { samples, width } = observation
    for (let i = 0, t = 0; i < samples.length; t++) {
      for (let c = 0; c < width; c++, i++) histogram.add(samples[i], weights ? weights[c] : 1)
      if (t % 16 === 0) await breathe()
    }
    histogram.addExtremes(observation, weights)
    return histogram
  }

  private constructor(observation: Observation, bins = 1 << 14) {
    this.min = observation.min.reduce((a, b) => Math.min(a, b), 0)
    this.max = observation.max.reduce((a, b) => Math.max(a, b), 0)
    this.perBin = this.max > this.min ? bins / (this.max - this.min) : 1
    this.h = new Float64Array(bins + 1)
    this.hx = new Float64Array(bins + 1)
    this.hxx = new Float64Array(bins + 1)
  }

  /** The last values; sums up. */
  private addExtremes({ samples, width, count, min, max }: Observation, weights: ArrayLike<number> | null): void {
    // A sampled row stands for count / rows rows, an extreme for one.
    const rare = samples.length / width / count
    for (let c = 0; c < width; c++) {
      this.add(min[c], rare * (weights ? weights[c] : 1))
      this.add(max[c], rare * (weights ? weights[c] : 1))
    }
    for (let i = 0; i + 1 < this.h.length; i++) {
      this.h[i + 1] += this.h[i]
      this.hx[i + 1] += this.hx[i]
      this.hxx[i + 1] += this.hxx[i]
    }
  }

  private add(x: number, weight: number): void {
    const bin = Math.min(this.h.length - 2, ((x - this.min) * this.perBin) | 0)
    this.h[bin + 1] += weight
    this.hx[bin + 1] += weight * x
    this.hxx[bin + 1] += weight * x * x
  }

  /** Weighted squared error of the code over all values. */
  loss(levels: readonly number[], step: number): number {
    const bins = this.h.length - 1
    let loss = 0
    let from = 0
    for (let i = 0; i < levels.length; i++) {
      const level = levels[i]
      if (i + 1 < levels.length && levels[i + 1] === level) continue
      const to = i + 1 < levels.length ? this.binAt(((level + levels[i + 1]) / 2) * step, from) : bins
      const x = level * step
      const h = this.h[to] - this.h[from]
      loss += this.hxx[to] - this.hxx[from] - 2 * x * (this.hx[to] - this.hx[from]) + x * x * h
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
    let from = 0
    return levels.map((level, i) => {
      const to = i + 1 < levels.length ? this.binAt(((level + levels[i + 1]) / 2) * step, from) : this.h.length - 1
      const h = this.h[to] - this.h[from]
      const mean = h > 0 ? (this.hx[to] - this.hx[from]) / h / step : level
      from = to
      return mean
    })
  }

  /**
   * Values that cut the range into parts of equal integral of density^(1/3), the density of levels that is best in the limit of many (Panter and
   * Dite): where the search for a codebook starts.
   */
  companded(count: number): number[] {
    const bins = this.h.length - 1
    const cumulative = new Float64Array(bins + 1)
    for (let i = 0; i < bins; i++) cumulative[i + 1] = cumulative[i] + Math.cbrt(this.h[i + 1] - this.h[i])
    let bin = 0
    return Array.from({ length: count }, (_, i) => {
      const target = (cumulative[bins] * (i + 0.5)) / count
      while (bin < bins && cumulative[bin + 1] < target) bin++
      return this.min + (bin + 0.5) / this.perBin
    })
  }

  /** The bin at whose lower edge x lies, not before `from`. */
  private binAt(x: number, from: number): number {
    return Math.max(from, Math.min(this.h.length - 1, Math.round((x - this.min) * this.perBin)))
  }

  lossOf(code: Code): number {
    return this.loss(code.levels, code.step)
  }
}
