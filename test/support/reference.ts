import type { Graph, Node } from '../../lib/graph/graph.js'
import { probabilitiesOf } from '../../lib/graph/scheme.js'

/**
 * A slow executor of graphs in doubles, written from the definitions of the operations alone.
 */

type NodeOf<Op extends Node['op']> = Extract<Node, { op: Op }>

export interface Matrix {
  rows: number
  width: number
  data: Float64Array
}

export function matrix(rows: number, width: number, at: (row: number, column: number) => number): Matrix {
  const data = new Float64Array(rows * width)
  for (let r = 0; r < rows; r++) for (let c = 0; c < width; c++) data[r * width + c] = at(r, c)
  return { rows, width, data }
}

/** All edges of one image, and what each softmax gives under {@link probabilitiesOf}. */
export function runReference(graph: Graph, image: Float32Array): Map<string, Matrix> {
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const edges = new Map<string, Matrix>([[graph.input, { rows, width, data: Float64Array.from(image) }]])
  const edge = (name: string) => edges.get(name) as Matrix
  const constant = (name: string) => graph.constants.get(name)?.data as Float32Array
  for (const node of graph.nodes) {
    switch (node.op) {
      case 'patchify':
        edges.set(node.output, patchify(node, edge(node.input)))
        break
      case 'linear': {
        const x = edge(node.input)
        const weight = constant(node.weight)
        const bias = node.bias === null ? null : constant(node.bias)
        edges.set(node.output, multiply(x, weight, bias))
        break
      }
      case 'tokens': {
        const x = edge(node.input)
        const prefix = constant(node.prefix)
        const positions = constant(node.positions)
        const count = prefix.length / x.width
        const data = Float64Array.from([...prefix, ...x.data.map((value, i) => value + positions[i])])
        edges.set(node.output, { rows: count + x.rows, width: x.width, data })
        break
      }
      case 'layernorm':
        edges.set(node.output, layernorm(edge(node.input), constant(node.gamma), constant(node.beta), node.eps))
        break
      case 'attention':
        attention(node, edges)
        break
      case 'gelu':
        edges.set(node.output, { ...edge(node.input), data: edge(node.input).data.map(gelu) })
        break
      case 'scale': {
        const x = edge(node.input)
        const factor = constant(node.factor)
        edges.set(node.output, { ...x, data: x.data.map((value, i) => value * factor[i % x.width]) })
        break
      }
      case 'add': {
        const right = edge(node.right)
        edges.set(node.output, { ...right, data: edge(node.left).data.map((value, i) => value + right.data[i]) })
        break
      }
      case 'row': {
        const x = edge(node.input)
        edges.set(node.output, { rows: 1, width: x.width, data: x.data.slice(node.row * x.width, (node.row + 1) * x.width) })
      }
    }
  }
  return edges
}

export function patchify(node: NodeOf<'patchify'>, { data }: Matrix): Matrix {
  const { channels, height, width, patchHeight, patchWidth } = node
  const across = Math.floor(width / patchWidth)
  return matrix(Math.floor(height / patchHeight) * across, channels * patchHeight * patchWidth, (patch, i) => {
    const channel = Math.floor(i / (patchHeight * patchWidth))
    const y = Math.floor(patch / across) * patchHeight + (Math.floor(i / patchWidth) % patchHeight)
    const x = (patch % across) * patchWidth + (i % patchWidth)
    return data[(channel * height + y) * width + x]
  })
}

/** x W^T + b */
export function multiply(x: Matrix, weight: ArrayLike<number>, bias: ArrayLike<number> | null): Matrix {
  return matrix(x.rows, weight.length / x.width, (row, output) => {
    let sum = bias ? bias[output] : 0
    for (let i = 0; i < x.width; i++) sum += x.data[row * x.width + i] * weight[output * x.width + i]
    return sum
  })
}

export function layernorm(x: Matrix, gamma: ArrayLike<number>, beta: ArrayLike<number>, eps: number): Matrix {
  const mean = new Float64Array(x.rows)
  const variance = new Float64Array(x.rows)
  for (let r = 0; r < x.rows; r++) {
    const row = x.data.subarray(r * x.width, (r + 1) * x.width)
    mean[r] = row.reduce((a, b) => a + b, 0) / x.width
    variance[r] = row.reduce((a, b) => a + (b - mean[r]) ** 2, 0) / x.width
  }
  return matrix(x.rows, x.width, (r, c) => ((x.data[r * x.width + c] - mean[r]) / Math.sqrt(variance[r] + eps)) * gamma[c] + beta[c])
}

function attention(node: NodeOf<'attention'>, edges: Map<string, Matrix>): void {
  const [q, k, v] = [node.q, node.k, node.v].map((name) => edges.get(name) as Matrix)
  const { rows: tokens, width } = q
  const channels = width / node.heads
  const probabilities = matrix(node.heads * tokens, tokens, (row, s) => {
    const head = Math.floor(row / tokens)
    let sum = 0
    for (let c = 0; c < channels; c++) {
      const column = head * channels + c
      sum += q.data[(row % tokens) * width + column] * k.data[s * width + column]
    }
    return sum * node.scale
  })
  for (let row = 0; row < probabilities.rows; row++) softmax(probabilities.data.subarray(row * tokens, (row + 1) * tokens))
  edges.set(probabilitiesOf(node), probabilities)
  const output = matrix(tokens, width, (t, column) => {
    const row = Math.floor(column / channels) * tokens + t
    let sum = 0
    for (let s = 0; s < tokens; s++) sum += probabilities.data[row * tokens + s] * v.data[s * width + column]
    return sum
  })
  edges.set(node.output, output)
}

function softmax(row: Float64Array): void {
  const most = Math.max(...row)
  row.forEach((x, i) => {
    row[i] = Math.exp(x - most)
  })
  const sum = row.reduce((a, b) => a + b, 0)
  row.forEach((x, i) => {
    row[i] = x / sum
  })
}

export const gelu = (x: number): number => (x * (1 + erf(x / Math.SQRT2))) / 2

/** Series near 0, continued fraction beyond: 1e-15. */
function erf(x: number): number {
  const a = Math.abs(x)
  if (a > 6) return Math.sign(x)
  if (a < 2.5) {
    let term = a
    let sum = a
    for (let n = 1; n < 80; n++) {
      term *= (-a * a) / n
      sum += term / (2 * n + 1)
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * sum
  }
  let fraction = 0
  for (let n = 80; n > 0; n--) fraction = n / 2 / (a + fraction)
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction))
}
