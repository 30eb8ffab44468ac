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
 * Attention in windows: the rows are a map [height][width], which is rolled up and left by the shift (cyclically) and then cut into
 * windows. Tokens attend to those of their window that were neighbours before, and what they get goes to the rows they came from. All pairs
 * are [height, width].
 */
export interface Windows {
  map: [number, number]
  /** Divides the map. */
  window: [number, number]
  /** 0 <= shift < window. */
  shift: [number, number]
}

export interface Heads {
  heads: number
  /** Of all heads, or of each. */
  scale: number | number[]
  /** Constant [heads][tokens][tokens]. */
  logitBias?: string
  /** Without, all rows attend to all. */
  windows?: Windows
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
  /** softmax(scale q k^T + logitBias) v in each head. */
  | ({ op: 'attention'; q: string; k: string; v: string } & Heads)
  | { op: 'gelu'; input: string }
  /** Multiplies each column by an element of the constant `factor` [width]. */
  | { op: 'scale'; input: string; factor: string }
  | { op: 'add'; left: string; right: string }
  /** One row of the input. */
  | { op: 'row'; input: string; row: number }
  /**
   * Rows that are a map [height][width] to one row for each 2 x 2 of them: upper left, lower left, upper right, lower right, zeros where
   * the map has ended.
   */
  | { op: 'merge'; input: string; height: number; width: number }
  /** The mean of all rows. */
  | { op: 'mean'; input: string }
  /** `rows` rows of `width` columns of the input. */
  | { op: 'slice'; input: string; row: number; rows: number; column: number; width: number }
  /** `rows` rows that are zero, but for the rows of the input, which begin at `row`. */
  | { op: 'place'; input: string; row: number; rows: number }
  /** The only row of the input, `rows` times. */
  | { op: 'repeat'; input: string; rows: number }
  /** Merged rows to the map [height][width] that they were merged from. */
  | { op: 'unmerge'; input: string; height: number; width: number }
  /** Element by element. */
  | { op: 'multiply'; left: string; right: string }
  // The rest is what gradients are made of (gradient.ts): from dL/dy of an operation to dL/dx.
  /** x W; weight [width of the input][outputs] as the linear node has it. */
  | { op: 'linearGradient'; input: string; weight: string }
  /** `input` is that of GELU. */
  | { op: 'geluGradient'; input: string; gradient: string }
  /** `input` is that of LayerNorm. */
  | { op: 'layernormGradient'; input: string; gradient: string; gamma: string; eps: number }
  /** dL/dq, dL/dk and dL/dv side by side. */
  | ({ op: 'attentionGradient'; q: string; k: string; v: string; gradient: string } & Heads)
)

export type NodeOf<Op extends Node['op']> = Extract<Node, { op: Op }>

export interface Graph {
  /** Architecture, for messages: 'vit', 'deit', ... */
  architecture: string
  nodes: Node[]
  edges: Map<string, Edge>
  constants: Map<string, Tensor>
  /** The edge that holds the image: [channels * height] rows of width. */
  input: string
  /** Edges that come with each image: the input of a run holds, image by image, the floats of `input` and then those of each of these. */
  moreInputs?: string[]
  /** The edge of logits, one row. */
  output: string
}

/** The edges that a node reads. */
export function inputsOf(node: Node): string[] {
  switch (node.op) {
    case 'attention':
      return [node.q, node.k, node.v]
    case 'attentionGradient':
      return [node.q, node.k, node.v, node.gradient]
    case 'geluGradient':
    case 'layernormGradient':
      return [node.input, node.gradient]
    case 'add':
    case 'multiply':
      return [node.left, node.right]
    default:
      return [node.input]
  }
}

/** The edges that a run is given, in their order in the input. */
export const inputEdges = ({ input, moreInputs = [] }: Pick<Graph, 'input' | 'moreInputs'>): string[] => [input, ...moreInputs]

/** The constants that a node reads. */
export function constantsOf(node: Node): string[] {
  switch (node.op) {
    case 'linear':
      return node.bias === null ? [node.weight] : [node.weight, node.bias]
    case 'tokens':
      return [node.prefix, node.positions]
    case 'layernorm':
      return [node.gamma, node.beta]
    case 'linearGradient':
      return [node.weight]
    case 'layernormGradient':
      return [node.gamma]
    case 'scale':
      return [node.factor]
    case 'attention':
    case 'attentionGradient':
      return node.logitBias === undefined ? [] : [node.logitBias]
    default:
      return []
  }
}
