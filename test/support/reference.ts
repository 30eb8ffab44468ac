import type { Graph, NodeOf } from '../../lib/graph/graph.js'
import { logitsOf, probabilitiesOf } from '../../lib/graph/scheme.js'

/**
 * A slow executor of graphs in doubles, written from the definitions of the operations alone.
 */

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

/**
 * All edges of one image, and what each softmax reads and gives under {@link logitsOf} and {@link probabilitiesOf}.
 *
 * @param written sees each of them before anything reads it, and may change it
 */
export function runReference(
  graph: Graph,
  image: Float32Array,
  written: (edge: string, values: Matrix) => void = () => {},
): Map<string, Matrix> {
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const edges = new Map<string, Matrix>([[graph.input, { rows, width, data: Float64Array.from(image) }]])
  const edge = (name: string) => edges.get(name) as Matrix
  written(graph.input, edge(graph.input))
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
        attention(node, edges, node.logitBias === undefined ? null : constant(node.logitBias), written)
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
      case 'multiply': {
        const right = edge(node.right)
        edges.set(node.output, { ...right, data: edge(node.left).data.map((value, i) => value * right.data[i]) })
        break
      }
      case 'row': {
        const x = edge(node.input)
        edges.set(node.output, { rows: 1, width: x.width, data: x.data.slice(node.row * x.width, (node.row + 1) * x.width) })
        break
      }
      case 'merge':
        edges.set(node.output, merge(node, edge(node.input)))
        break
      case 'mean':
        edges.set(node.output, mean(edge(node.input)))
    }
    written(node.output, edge(node.output))
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

export function merge({ height, width: across }: NodeOf<'merge'>, { width, data }: Matrix): Matrix {
  const columns = Math.ceil(across / 2)
  return matrix(Math.ceil(height / 2) * columns, 4 * width, (row, i) => {
    const part = Math.floor(i / width)
    const y = 2 * Math.floor(row / columns) + (part % 2)
    const x = 2 * (row % columns) + Math.floor(part / 2)
    return y < height && x < across ? data[(y * across + x) * width + (i % width)] : 0
  })
}

export function mean({ rows, width, data }: Matrix): Matrix {
  return matrix(1, width, (_, c) => {
    let sum = 0
    for (let r = 0; r < rows; r++) sum += data[r * width + c]
    return sum / rows
  })
}

export interface Window {
  /** The row of each token. */
  rows: number[]
  attends(query: number, key: number): boolean
}

/**
 * The windows of an attention node, as Swin makes them: the map is rolled, its last window and the shifted part of that are told apart by
 * number in both directions, both are cut into windows, and different numbers do not see each other.
 */
export function windowsIn({ windows }: NodeOf<'attention'>, rows: number): Window[] {
  if (!windows) return [{ rows: Array.from({ length: rows }, (_, i) => i), attends: () => true }]
  const { map, window, shift } = windows
  const band = (at: number, i: number) => (at < map[i] - window[i] ? 0 : at < map[i] - shift[i] ? 1 : 2)
  const cut: Window[] = []
  for (let top = 0; top < map[0]; top += window[0]) {
    for (let left = 0; left < map[1]; left += window[1]) {
      const tokens: { row: number; region: number }[] = []
      for (let y = top; y < top + window[0]; y++) {
        for (let x = left; x < left + window[1]; x++) {
          const row = ((y + shift[0]) % map[0]) * map[1] + ((x + shift[1]) % map[1])
          tokens.push({ row, region: 3 * band(y, 0) + band(x, 1) })
        }
      }
      cut.push({ rows: tokens.map(({ row }) => row), attends: (query, key) => tokens[query].region === tokens[key].region })
    }
  }
  return cut
}

export const scaleOf = ({ scale }: NodeOf<'attention'>, head: number): number => (typeof scale === 'number' ? scale : scale[head])

function attention(
  node: NodeOf<'attention'>,
  edges: Map<string, Matrix>,
  bias: Float32Array | null,
  written: (edge: string, values: Matrix) => void,
): void {
  const [q, k, v] = [node.q, node.k, node.v].map((name) => edges.get(name) as Matrix)
  const { rows, width } = q
  const channels = width / node.heads
  const windows = windowsIn(node, rows)
  const tokens = rows / windows.length
  const [logits, probabilities] = [0, 1].map(() => matrix(node.heads * rows, tokens, () => 0))
  const output = matrix(rows, width, () => 0)
  const forEachQuery = (visit: (window: Window, head: number, t: number, p: Float64Array, row: number) => void) => {
    let row = 0
    for (const window of windows) {
      for (let head = 0; head < node.heads; head++) {
        for (let t = 0; t < tokens; t++, row++) visit(window, head, t, probabilities.data.subarray(row * tokens, (row + 1) * tokens), row)
      }
    }
  }
  forEachQuery((window, head, t, _, row) => {
    for (let s = 0; s < tokens; s++) {
      let sum = 0
      for (let c = head * channels; c < (head + 1) * channels; c++) {
        sum += q.data[window.rows[t] * width + c] * k.data[window.rows[s] * width + c]
      }
      logits.data[row * tokens + s] = sum * scaleOf(node, head) + (bias ? bias[(head * tokens + t) * tokens + s] : 0)
    }
  })
  edges.set(logitsOf(node), logits)
  written(logitsOf(node), logits)
  forEachQuery((window, _, t, p, row) => {
    for (let s = 0; s < tokens; s++) p[s] = logits.data[row * tokens + s] - (window.attends(t, s) ? 0 : 100)
    softmax(p)
  })
  edges.set(probabilitiesOf(node), probabilities)
  written(probabilitiesOf(node), probabilities)
  forEachQuery((window, head, t, p) => {
    for (let c = head * channels; c < (head + 1) * channels; c++) {
      for (let s = 0; s < tokens; s++) output.data[window.rows[t] * width + c] += p[s] * v.data[window.rows[s] * width + c]
    }
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
