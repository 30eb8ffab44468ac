import { randomUniform } from '../random.js'

/**
 * What rounding does to the values of one operand, gathered while they pass by.
 */

/** How the values of an operand lie before and after rounding: equal bins from `low` to `high`. */
export interface Distribution {
  low: number
  high: number
  /** Fractions of the values in each bin, {@link BINS} of them; from a sample of some ten thousand values where there are more. */
  before: number[]
  after: number[]
}

export interface RoundingReport {
  /** Fraction (0..1) of the values that lie below the lowest level times their step, or above the highest. */
  clipped: number
  /** Root mean square of what rounding adds over that of the values; 0 when nothing is added. */
  error: number
  distribution: Distribution
}

export const BINS = 120
/** Values kept of an operand, about. */
const SAMPLES = 1 << 15

/** The range of a code: element i of what is rounded has the step steps[floor(i / run) % steps.length]. */
export interface CodeRange {
  low: number
  high: number
  steps: Float32Array
  /** 1 for a step a column (or one for all), the width of a row for a step a row. */
  run: number
}

export class Rounding {
  private count = 0
  private beyond = 0
  private squares = 0
  private errors = 0
  private min = Number.POSITIVE_INFINITY
  private max = Number.NEGATIVE_INFINITY
  private readonly before: number[] = []
  private readonly after: number[] = []
  private readonly random = randomUniform(0)
  private readonly spacing: number
  private nextSample = 0

  /** @param expected how many values will come, about: decides how many of them are sampled */
  constructor(expected: number) {
    this.spacing = Math.max(1, expected / SAMPLES)
  }

  /** @param before and after rounding, of the same elements; the first is that of a row */
  async add(before: Float32Array, after: Float32Array, range: CodeRange, breathe: () => Promise<void> | void): Promise<void> {
    const { low, high, steps, run } = range
    for (let i = 0; i < before.length; i++) {
      const [x, y] = [before[i], after[i]]
      const step = steps.length === 1 ? steps[0] : steps[Math.floor(i / run) % steps.length]
      if (x < low * step || x > high * step) this.beyond++
      this.squares += x * x
      this.errors += (x - y) * (x - y)
      this.min = Math.min(this.min, x, y)
      this.max = Math.max(this.max, x, y)
      if (this.count++ === this.nextSample) this.sample(x, y)
      if (i % 8192 === 0) await breathe()
    }
  }

  /** Random gaps, so that no column of a matrix is seen more often than another. */
  private sample(x: number, y: number): void {
    this.before.push(x)
    this.after.push(y)
    this.nextSample += 1 + Math.floor(this.random() * (2 * this.spacing - 1))
  }

  report(): RoundingReport {
    const [low, high] = this.count > 0 ? [this.min, this.max] : [0, 0]
    return {
      clipped: this.count > 0 ? this.beyond / this.count : 0,
      error: ratio(this.errors, this.squares),
      distribution: { low, high, before: histogram(this.before, low, high), after: histogram(this.after, low, high) },
    }
  }
}

/** Square root of a ratio of sums of squares: of errors, and of what they are errors of. Infinite for errors of zeros, 0 for none. */
export const ratio = (errors: number, squares: number): number => (errors === 0 ? 0 : Math.sqrt(errors / squares))

function histogram(values: number[], low: number, high: number): number[] {
  const bins: number[] = Array(BINS).fill(0)
  for (const x of values) bins[high > low ? Math.min(BINS - 1, Math.floor(((x - low) / (high - low)) * BINS)) : 0] += 1 / values.length
  return bins
}
