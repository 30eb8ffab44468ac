import { isStep } from '../../codes/code.js'
import { symmetricStep } from '../../codes/published.js'
import { encodeRow } from '../../codes/weights.js'
import { roundHalfEven } from '../../graph/encoder.js'
import type { Tensor } from '../../graph/graph.js'
import type { WeightCode } from '../../graph/scheme.js'
import { packWeight } from '../../runtime/blobs.js'

/**
 * Weights with one step for a whole tensor.
 */

/** Elements looked at when steps are compared without their products. */
const COMPARED = 1 << 14

export const reachOf = (values: Float32Array): number => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0)

/** Steps at these fractions of the one that covers all; 1 for a tensor of zeros, or next to it. */
export function tensorSteps({ data }: Tensor, bits: number, scales: readonly number[]): number[] {
  const step = symmetricStep(reachOf(data), bits)
  const steps = scales.map((c) => Math.fround(c * step)).filter(isStep)
  return steps.length > 0 ? steps : [1]
}

export function encodeTensor({ shape: [outputs, inputs], data }: Tensor, step: number, bits: number): WeightCode {
  const levels = new Int8Array(data.length)
  encodeRow(data, step, bits, levels)
  return { bits, outputs, inputs, packed: packWeight(levels, outputs, inputs, bits), steps: new Float32Array(outputs).fill(step) }
}

/** What the code of {@link encodeTensor} stands for. */
export function roundTensor({ shape, data }: Tensor, step: number, bits: number): Tensor {
  const half = 2 ** (bits - 1)
  const rounded = new Float32Array(data.length)
  for (let i = 0; i < data.length; i++) rounded[i] = roundHalfEven(Math.min(Math.max(data[i] / step, -half), half - 1)) * step
  return { shape, data: rounded }
}

/**
 * sum_o h_o sum_j E[x_j^2] (w_oj - w'_oj)^2 over some of the rows: the error of the product for uncorrelated inputs.
 *
 * @param outputWeights [outputs], h
 * @param meanSquare [inputs] of x
 */
export function uncorrelatedLoss(
  { shape: [outputs, inputs], data }: Tensor,
  step: number,
  bits: number,
  outputWeights: ArrayLike<number>,
  meanSquare: ArrayLike<number>,
): number {
  const half = 2 ** (bits - 1)
  const stride = Math.max(1, Math.floor((outputs * inputs) / COMPARED))
  let loss = 0
  for (let o = 0; o < outputs; o += stride) {
    let row = 0
    for (let j = 0; j < inputs; j++) {
      const w = data[o * inputs + j]
      const e = w - Math.min(Math.max(Math.round(w / step), -half), half - 1) * step
      row += meanSquare[j] * e * e
    }
    loss += outputWeights[o] * row
  }
  return loss
}
