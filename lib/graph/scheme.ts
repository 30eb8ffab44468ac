/**
 * The code of every operand of a model: plain data that codes/ and quant/ choose, the container stores and lowering executes.
 */

/**
 * A k-bit code: 2^k integers (ascending, containing 0, all in -128..127 or all in 0..255) times a step. Values are encoded to the nearest
 * level; see native/ops/encode.h for ties.
 */
export interface Code {
  bits: number
  family: 'uniform' | 'v2sf' | 'codebook'
  /** 2^bits integers; for 'uniform' consecutive ones. */
  levels: number[]
  /** float32 > 0. */
  step: number
}

/** A weight as signed uniform codes in -2^(bits-1) .. 2^(bits-1)-1 with one step for each output row. */
export interface WeightCode {
  bits: number
  outputs: number
  inputs: number
  /** packed as native/format/packed_weight.h says. */
  packed: Uint8Array
  /** [outputs] */
  steps: Float32Array
}

export interface Scheme {
  /** By the name of the weight tensor of each linear node. */
  weights: Map<string, WeightCode>
  /** By edge, for every edge that a matrix product reads; the softmax output of an attention node is called by {@link probabilitiesOf}. */
  edges: Map<string, Code>
}

/**
 * The name under which a scheme may hold a code of an attention node's logits: uniform, levels -128..127. Without one, logits stay float between the
 * product and softmax.
 */
export const logitsOf = (attention: { name: string }): string => `${attention.name}.logits`

/** The name under which the softmax output of the attention node is found in a scheme and in observations. */
export const probabilitiesOf = (attention: { name: string }): string => `${attention.name}.probabilities`
