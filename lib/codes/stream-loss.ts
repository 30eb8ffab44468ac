import { roundHalfEven } from '../graph/encoder.js'
import type { Code } from '../graph/scheme.js'
import { everyNthRow, type Observation } from './observation.js'
import { roundValues } from './round.js'

/**
 * What a code of the residual stream costs: the squared error of what LayerNorm makes of each row, in units of the stream. A row that is
 * far too large to be coded keeps its direction when it is clipped, and direction is all that is read.
 *
 * Errors of a column that have one sign in all rows of an image, as those of a channel that is clipped everywhere, add up on the way to the
 * logits, and others do not: of R rows with errors e the effect is g^2 (sum e)^2 at most (when the gradient g is the same in all), against
 * g^2 R E[e^2] for independent ones. So the loss of a column is R (Var[e] + R E[e]^2); one sign everywhere counts as the worst case. Where
 * g is not the same, R is the number of rows that share the predictions among them (quant/stream-rows). This is our definition.
 */

/** Rows looked at. */
const ROWS = 512

/** Of a row: mean and 1 / standard deviation. */
interface Normal {
  mean: number
  inverse: number
}

/** By column: sums of errors and of their squares over rows, and of what clipping does to other columns. */
interface ColumnErrors {
  sums: Float64Array
  squares: Float64Array
  others: Float64Array
}

export class StreamLoss {
  private readonly width: number
  /** [rows][width] */
  private readonly values: Float32Array
  private readonly normals: Normal[]
  /** From squared errors behind LayerNorm, mean over rows, to those of all samples in units of the stream. */
  private readonly scale: number
  private readonly importance: Float64Array
  /** Of each row z behind LayerNorm, columns weighed by importance: sum w z^2, and sum w z. */
  private readonly energies: Float64Array
  private readonly moments: Float64Array
  /** sum w */
  private readonly total: number

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
    const weights = Float64Array.from(importance ?? new Float64Array(width).fill(1))
    this.importance = weights
    this.energies = new Float64Array(this.normals.length)
    this.moments = new Float64Array(this.normals.length)
    for (const [t, { mean, inverse }] of this.normals.entries()) {
      const row = rowOf(this.values, width, t)
      for (let j = 0; j < width; j++) {
        const z = (row[j] - mean) * inverse
        this.energies[t] += weights[j] * z * z
        this.moments[t] += weights[j] * z
      }
    }
    this.total = weights.reduce((sum, w) => sum + w, 0)
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

  /**
   * [width] of a symmetric uniform code with one step, for each column as if it alone were coded: an estimate, which {@link of} settles.
   */
  async columns(step: number, bits: number): Promise<Float64Array> {
    const { width, values } = this
    const half = 2 ** (bits - 1)
    const errors: ColumnErrors = { sums: new Float64Array(width), squares: new Float64Array(width), others: new Float64Array(width) }
    for (let t = 0; t < this.normals.length; t++) {
      this.addRow(rowOf(values, width, t), t, step, half, errors)
      if (t % 64 === 0) await this.breathe()
    }
    const { sums, squares, others } = errors
    return this.weighed(sums, squares).map((loss, j) => loss + (this.scale * others[j]) / this.normals.length)
  }

  /**
   * Adds what coding x_j makes of row t behind LayerNorm: the error of column j, and the weighted squared errors of all others. Rounding
   * leaves the mean and standard deviation of a row nearly as they are, clipping does not: the mean moves by change / n and 1 / standard
   * deviation to r times what it was, so that the error of column k is a z_k + b with a = 1 - r and b = r change inverse / n.
   */
  private addRow(row: Float32Array, t: number, step: number, half: number, { sums, squares, others }: ColumnErrors): void {
    const { width: n, importance, total } = this
    const { mean, inverse } = this.normals[t]
    const [energy, moment] = [this.energies[t], this.moments[t]]
    // Multiplications, as divisions are what takes time here.
    const [inverseStep, share, limit] = [1 / step, 1 / n, step / 2]
    for (let j = 0; j < n; j++) {
      const x = row[j]
      const change = Math.min(Math.max(roundHalfEven(x * inverseStep), -half), half - 1) * step - x
      // Behind LayerNorm, as long as the row stays what it is.
      const moved = change * inverse
      let error = -moved
      if (Math.abs(change) > limit) {
        const z = (x - mean) * inverse
        const w = importance[j]
        const variance = 1 + moved * (2 * z + moved * (1 - share)) * share
        const r = 1 / Math.sqrt(Math.max(variance, 1e-12))
        const a = 1 - r
        const b = r * moved * share
        error = a * z + b - r * moved
        others[j] += a * a * (energy - w * z * z) + 2 * a * b * (moment - w * z) + b * b * (total - w)
      }
      sums[j] += error
      squares[j] += error * error
    }
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
