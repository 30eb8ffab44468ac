/**
 * A model as a graph. Edges are matrices of float [rows x width] for each image; nodes are pure functions between them; constants are
 * tensors by name. A graph says what is computed, never with how many bits: that is a {@link Scheme}.
 */

export interface Tensor {
  shape: number[]
  data: Float32Array
}

export interface Edge {
  rows: number
  width: number
}

/**
 * Attention in windows: the rows are a map [height][width], which is rolled up and left by the shift (cyclically) and then cut into windows. Tokens
 * attend to those of their window that were neighbours before, and what they get goes to the rows they came from. All pairs are [height, width].
 */
export interface Windows {
  map: [number, number]
  /** Divides the map. */
  window: [number, number]
  /** 0 <= shift < window. */
  shift: [number, number]
}

/** The names of tensors in {@link Graph.constants}; edges are named by their ids. Every node has one output. */
export type Node = {
  name: string
  output: string
} /** Image [channels][height][width] to rows of [channels * patchHeight * patchWidth], as a convolution's weight is laid out. */ & (
  | { op: 'patchify'; input: string; channels: number; height: number; width: number; patchHeight: number; patchWidth: number }
  /** y = x W^T + b; weight [outputs][inputs]. */
  | { op: 'linear'; input: string; weight: string; bias: string | null }
  /** Prepends the rows of constant `prefix` and adds the constant `positions` [rows of input][width] to the others. */
  | { op: 'tokens'; input: string; prefix: string; positions: string }
  | { op: 'layernorm'; input: string; gamma: string; beta: string; eps: number }
  /**
   * softmax(scale q k^T + logitBias) v in each head, whose scale may be its own; constant `logitBias` [heads][tokens][tokens]. All rows attend to all
   * without `windows`.
   */
  | { op: 'attention'; q: string; k: string; v: string; heads: number; scale: number | number[]; logitBias?: string; windows?: Windows }
  | { op: 'gelu'; input: string }
  /** Multiplies each column by an element of the constant `factor` [width]. */
  | { op: 'scale'; input: string; factor: string }
  | { op: 'add'; left: string; right: string }
  /** One row of the input. */
  | { op: 'row'; input: string; row: number }
  /**
   * Rows that are a map [height][width] to one row for each 2 x 2 of them: upper left, lower left, upper right, lower right, zeros where the map has
   * ended.
   */
  | { op: 'merge'; input: string; height: number; width: number }
  /** The mean of all rows. */
  | { op: 'mean'; input: string }
)

export interface Graph {
  /** Architecture, for messages: 'vit', 'deit', ... */
  architecture: string
  nodes: Node[]
  edges: Map<string, Edge>
  constants: Map<string, Tensor>
  /** The edge that holds the image: [channels * height] rows of width. */
  input: string
  /** The edge of logits, one row. */
  output: string
}

/** The edges that a node reads. */
export function inputsOf(node: Node): string[] {
  switch (node.op) {
    case 'attention':
      return [node.q, node.k, node.v]
    case 'add':
      return [node.left, node.right]
    default:
      return [node.input]
  }
}

/** The constants that a node reads. */
export function constantsOf(node: Node): string[] {
  switch (node.op) {
    case 'linear':
      return node.bias === null ? [node.weight] : [node.weight, node.bias]
    case 'tokens':
      return [node.prefix, node.positions]
    case 'layernorm':
      return [node.gamma, node.beta]
    case 'scale':
      return [node.factor]
    case 'attention':
      return node.logitBias === undefined ? [] : [node.logitBias]
    default:
      return []
  }
}
