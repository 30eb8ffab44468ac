/**
 * The code of every operand of a model: plain data that codes/ and quant/ choose, the container stores and lowering executes.
 */

/**
 * A k-bit code: 2^k integers (ascending, containing 0, all in -128..127 or all in 0..255; where linear layers alone read the edge, in any
 * 256 consecutive integers, the lowest even) times a step. Values are encoded to the nearest level; see native/ops/encode.h for ties.
 */
export interface Code {
  bits: number
  family: 'uniform' | 'v2sf' | 'regions' | 'log' | 'codebook' | 'o2sf'
  /** 2^bits integers; for 'uniform' and 'o2sf' consecutive ones. */
  levels: number[]
  /** float32 > 0. */
  step: number
  /**
   * g float32 > 0, where g divides the width of the edge: the step of column j is step * factors[floor(j g / width)]. For softmax outputs,
   * queries, keys and values g divides the number of heads. No linear layer may read such an edge; LayerNorm reads powers of two from 1 on.
   * O-2SF (TSPTQ-ViT) has g = width and factors 1 and 2^m, see outlierFactors.
   */
  factors?: Float32Array
  /**
   * Of softmax outputs alone: what is coded is relative to the largest of each query, and codes are divided by their sum, so that they add
   * up to 1 whatever the step. See native/ops/attention.h.
   */
  relative?: true
  /**
   * Where it is given, all integers from it to 255 more are levels in the first row of each image, the class token: as many as a byte has
   * room for, in one row of hundreds, on which predictions hang more than on all others. Of softmax outputs it is the first query of each
   * head. Even; the levels of the other rows lie among them. For what linear layers, LayerNorm and attention without windows write; not for
   * a uniform code. See native/ops/encode.h.
   */
  fineFirst?: number
}

/** Of a fine first row: a byte. */
export const FINE_BITS = 8

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
  /**
   * By edge, for every edge that a matrix product reads; the softmax output of an attention node is called by {@link probabilitiesOf}.
   * With full coverage also for every other edge that is stored (the residual stream), for what GELU reads, and for what softmax reads,
   * which is called by {@link logitsOf}.
   */
  edges: Map<string, Code>
  /** 'partial': LayerNorm, additions, GELU and softmax read floats. 'full': no float is stored between the patches and the logits. */
  coverage: 'partial' | 'full'
}

/** The name under which the softmax output of the attention node is found in a scheme and in observations. */
export const probabilitiesOf = (attention: { name: string }): string => `${attention.name}.probabilities`

/** The name under which the softmax input of the attention node is found in a scheme of full coverage: uniform, levels -128..127. */
export const logitsOf = (attention: { name: string }): string => `${attention.name}.logits`
