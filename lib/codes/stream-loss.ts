import { roundHalfEven } from '../graph/encoder.js'
import type { Code } from '../graph/scheme.js'
import { everyNthRow, type Observation } from './observation.js'
import { roundValues } from './round.js'

/**
 * What a code of the residual stream costs: the squared error of what LayerNorm makes of each row, in units of the stream. A row that is far too
 * large to be coded keeps its direction when it is clipped, and direction is all that is read.
 *
 * Errors of a column that have one sign in all rows of an image, as those of a channel that is clipped everywhere, add up on the way to the logits, and
 * others do not: of R rows with errors e the effect is g^2 (sum e)^2 at most (when the gradient g is the same in all), against g^2 R E[e^2] for independent
 * ones. So the loss of a column is R (Var[e] + R E[e]^2); one sign everywhere counts as the worst case. Where g is not the same, R is the number
 * of rows that share the predictions among them (quant/stream-rows). This is our definition.
 */

/** Rows looked at. */
const ROWS = 512

/** Of a row: mean and 1 / standard deviation. */
interface Normal {
  mean: number
  inverse: number
}

export class StreamLoss {
  private readonly width: number
  /** [rows][width] */
  private readonly values: Float32Array
  private readonly normals: Normal[]
  /** From squared errors behind LayerNorm, mean over rows, to those of all samples in units of the stream. */
  private readonly scale: number
  private readonly importance: ArrayLike<number>
  /** The squared norm of each row behind LayerNorm, columns weighed by importance. */
  private readonly energies: Float64Array

  /**
   * @param importance [width] of a squared error in each column, or null for 1
   * @param rowsAnImage R
   */
  constructor(
    { samples, width }: Observation,
    importance: ArrayLike<number> | null,
    private readonly rowsAnImage: number,
    private readonly breathe: () => Promise<void> | void,
  ) {
    const count = samples.length / width
    const stride = Math.max(1, Math.floor(count / ROWS))
    this.values = everyNthRow(samples, width, stride)
    this.width = width
    this.normals = Array.from({ length: this.values.length / width }, (_, t) => normalOf(rowOf(this.values, width, t)))
    this.scale = (count * this.normals.length) / this.normals.reduce((sum, { inverse }) => sum + inverse ** 2, 0)
    const weights = importance ?? new Float64Array(width).fill(1)
    this.importance = weights
    this.energies = Float64Array.from(this.normals, ({ mean, inverse }, t) =>
      rowOf(this.values, width, t).reduce((sum, x, j) => sum + weights[j] * ((x - mean) * inverse) ** 2, 0),
    )
  }

  /** Of all sampled rows. */
  async of(code: Code): Promise<number> {
    const { width, values } = this
    const coded = values.slice()
    await roundValues(coded, code, width, this.breathe)
    const [sums, squares] = [new Float64Array(width), new Float64Array(width)]
    for (let t = 0; t < this.normals.length; t++) {
      addNormalErrors(rowOf(values, width, t), this.normals[t], rowOf(coded, width, t), sums, squares)
      if (t % 64 === 0) await this.breathe()
    }
    return this.weighed(sums, squares).reduce((a, b) => a + b, 0)
  }

  /** [width] of a symmetric uniform code with one step, for each column as if it alone were coded and the mean of the row stayed as it is: an estimate, which {@link of} settles. */
  async columns(step: number, bits: number): Promise<Float64Array> {
    const { width, values, importance } = this
    const half = 2 ** (bits - 1)
    const [sums, squares, stretched] = [new Float64Array(width), new Float64Array(width), new Float64Array(width)]
    for (let t = 0; t < this.normals.length; t++) {
      const row = rowOf(values, width, t)
      const { mean, inverse } = this.normals[t]
      for (let j = 0; j < width; j++) {
        const change = Math.min(Math.max(roundHalfEven(row[j] / step), -half), half - 1) * step - row[j]
        const z = (row[j] - mean) * inverse
        // Rounding leaves the standard deviation of a row nearly as it is, clipping does not.
        const codedInverse = Math.abs(change) > step / 2 ? inverseWith(change, row[j] - mean, inverse, width) : inverse
        const error = z - (row[j] - mean + change) * codedInverse
        sums[j] += error
        squares[j] += error * error
        if (codedInverse !== inverse) stretched[j] += (codedInverse / inverse - 1) ** 2 * (this.energies[t] - importance[j] * z * z)
      }
      if (t % 64 === 0) await this.breathe()
    }
    return this.weighed(sums, squares).map((loss, j) => loss + (this.scale * stretched[j]) / this.normals.length)
  }

  private weighed(sums: Float64Array, squares: Float64Array): Float64Array {
    const count = this.normals.length
    return sums.map((sum, j) => {
      const mean = sum / count
      return this.scale * this.importance[j] * (squares[j] / count + (this.rowsAnImage - 1) * mean * mean)
    })
  }
}

/** Adds errors and their squares, a column each, of what LayerNorm makes of a row. */
function addNormalErrors(row: Float32Array, exact: Normal, coded: Float32Array, sums: Float64Array, squares: Float64Array): void {
  const { mean, inverse } = exact
  const { mean: codedMean, inverse: codedInverse } = normalOf(coded)
  for (let j = 0; j < row.length; j++) {
    const error = (row[j] - mean) * inverse - (coded[j] - codedMean) * codedInverse
    sums[j] += error
    squares[j] += error * error
  }
}

/** 1 / standard deviation of a row of n columns when one, y from the mean, changes. */
function inverseWith(change: number, y: number, inverse: number, n: number): number {
  const variance = 1 / inverse ** 2 + (change * (2 * y + change * (1 - 1 / n))) / n
  return 1 / Math.sqrt(Math.max(variance, 1e-12))
}

const rowOf = (values: Float32Array, width: number, t: number): Float32Array => values.subarray(t * width, (t + 1) * width)

function normalOf(row: Float32Array): Normal {
  let sum = 0
  let squares = 0
  for (let j = 0; j < row.length; j++) {
    sum += row[j]
    squares += row[j] * row[j]
  }
  const mean = sum / row.length
  return { mean, inverse: 1 / Math.sqrt(Math.max(squares / row.length - mean * mean, 1e-12)) }
}
