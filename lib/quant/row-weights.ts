import type { Observation } from '../codes/observation.js'
import type { ActivationOperand } from './operands.js'

/**
 * How much the error of a row of the residual stream counts. Whoever reads it divides by the standard deviation of the row first; some
 * trained models have rows hundreds of times as large as the others, and without these weights the searches would serve those alone.
 */

/** [sampled rows] of an operand, or null: all alike. */
export function rowWeights({ kind }: Pick<ActivationOperand, 'kind'>, { samples, width }: Observation): Float64Array | null {
  return kind === 'residual' ? inverseVariances(samples, width) : null
}

/**
 * 1 / variance of each row of the stream, scaled to mean 1.
 *
 * @param stream [rows][width]
 */
export function inverseVariances(stream: Float32Array, width: number): Float64Array {
  const weights = new Float64Array(stream.length / width)
  let total = 0
  for (let t = 0; t < weights.length; t++) {
    let sum = 0
    let squares = 0
    for (let i = t * width; i < (t + 1) * width; i++) {
      sum += stream[i]
      squares += stream[i] * stream[i]
    }
    weights[t] = 1 / Math.max((squares - (sum * sum) / width) / width, 1e-12)
    total += weights[t]
  }
  return weights.map((w) => (w * weights.length) / total)
}
