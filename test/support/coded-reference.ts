import type { Graph, Node } from '../../lib/graph/graph.js'
import { storageOf } from '../../lib/graph/operands.js'
import { type Code, logitsOf, probabilitiesOf, type Scheme } from '../../lib/graph/scheme.js'
import { unpackWeight } from '../../lib/runtime/blobs.js'
import { gelu, layernorm, type Matrix, matrix, mean, merge, patchify, scaleOf, windowsIn } from './reference.js'

/**
 * What a quantized graph means: every operand of a matrix product is replaced by its nearest level, products of levels are exact integers,
 * and everything between is rounded to float32 where the contracts of native/ops round. With full coverage every stored edge is its nearest
 * level. Written without plans, views or packed orders.
 */

const { fround } = Math

/** The nearest level: half to even between the integers of a uniform code, up between other levels. */
export function nearestLevel({ family, levels, step }: Code, x: number): number {
  const v = fround(fround(x) * fround(1 / step))
  if (family === 'uniform' || family === 'o2sf') {
    const clamped = Math.min(Math.max(v, levels[0]), levels[levels.length - 1])
    const floor = Math.floor(clamped)
    const rest = clamped - floor
    return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor
  }
  let best = levels[0]
  for (const level of levels) if (Math.abs(level - v) <= Math.abs(best - v)) best = level
  return best
}

/** The step of a column, or of a head. */
const stepAt = ({ step, factors = Float32Array.of(1) }: Code, part: number, parts: number): number =>
  fround(step * factors[Math.floor((part * factors.length) / parts)])

/** A fine first row has all integers of a byte as levels. */
function codeOfRow(code: Code, row: number): Code {
  const { fineFirst } = code
  if (fineFirst === undefined || row > 0) return code
  return { ...code, family: 'uniform', levels: Array.from({ length: 256 }, (_, i) => fineFirst + i) }
}

function levelsOfMatrix(code: Code, { rows, width, data }: Matrix): Matrix {
  const levels = data.map((x, i) => nearestLevel({ ...codeOfRow(code, Math.floor(i / width)), step: stepAt(code, i % width, width) }, x))
  return { rows, width, data: levels }
}

/** The logits of one image. */
export function runCodedReference(graph: Graph, scheme: Scheme, image: Float32Array): Float64Array {
  const stored = storageOf(graph)
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const edges = new Map<string, Matrix>([[graph.input, { rows, width, data: Float64Array.from(image) }]])
  const edge = (name: string) => edges.get(name) as Matrix
  const constant = (name: string) => graph.constants.get(name)?.data as Float32Array
  const codeOf = (name: string) => scheme.edges.get(stored(name).edge) as Code
  const levelsOf = (name: string): Matrix => levelsOfMatrix(codeOf(name), edge(name))
  /** What is left of a value that was stored as a code. */
  const coded = (code: Code, x: Matrix): Matrix => {
    const { data } = levelsOfMatrix(code, x)
    return { ...x, data: data.map((level, i) => level * stepAt(code, i % x.width, x.width)) }
  }
  const float = (x: Matrix): Matrix => ({ ...x, data: x.data.map(fround) })
  const meanOf = (name: string): Matrix => {
    if (!codeOf(name)) return float(mean(edge(name)))
    const { rows, width, data } = levelsOf(name)
    const step = fround(codeOf(name).step / rows)
    return float(matrix(1, width, (_, c) => data.reduce((sum, level, i) => (i % width === c ? sum + level : sum), 0) * step))
  }
  for (const node of graph.nodes) {
    switch (node.op) {
      case 'patchify':
        edges.set(node.output, patchify(node, edge(node.input)))
        break
      case 'linear': {
        const code = scheme.weights.get(node.weight) as NonNullable<ReturnType<Scheme['weights']['get']>>
        const weight = unpackWeight(code.packed, code.outputs, code.inputs, code.bits)
        const bias = node.bias === null ? new Float32Array(code.outputs) : constant(node.bias)
        const x = levelsOf(node.input)
        const step = codeOf(node.input).step
        const y = matrix(x.rows, code.outputs, (r, o) => {
          let sum = 0
          for (let i = 0; i < x.width; i++) sum += x.data[r * x.width + i] * weight[o * x.width + i]
          return fround(fround(sum) * fround(step * code.steps[o]) + bias[o])
        })
        edges.set(node.output, y)
        break
      }
      case 'tokens': {
        const x = edge(node.input)
        const positions = constant(node.positions)
        const data = Float64Array.from([...constant(node.prefix), ...x.data.map((value, i) => fround(value + positions[i]))])
        edges.set(node.output, { rows: data.length / x.width, width: x.width, data })
        break
      }
      case 'layernorm':
        edges.set(node.output, float(layernorm(edge(node.input), constant(node.gamma), constant(node.beta), fround(node.eps))))
        break
      case 'attention':
        edges.set(node.output, attention(node, levelsOf, scheme, codeOf, node.logitBias === undefined ? null : constant(node.logitBias)))
        break
      case 'gelu':
        edges.set(node.output, { ...edge(node.input), data: edge(node.input).data.map((x) => fround(gelu(x))) })
        break
      case 'scale': {
        const x = edge(node.input)
        const factor = constant(node.factor)
        edges.set(node.output, { ...x, data: x.data.map((value, i) => fround(value * factor[i % x.width])) })
        break
      }
      case 'add': {
        const right = edge(node.right)
        edges.set(node.output, { ...right, data: edge(node.left).data.map((value, i) => fround(value + right.data[i])) })
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
        edges.set(node.output, meanOf(node.input))
    }
    const code = scheme.coverage === 'full' ? scheme.edges.get(node.output) : undefined
    if (code) edges.set(node.output, coded(code, edge(node.output)))
  }
  return edge(graph.output).data
}

function attention(
  node: Extract<Node, { op: 'attention' }>,
  levelsOf: (name: string) => Matrix,
  scheme: Scheme,
  codeOf: (name: string) => Code,
  bias: Float32Array | null,
): Matrix {
  const [q, k, v] = [node.q, node.k, node.v].map(levelsOf)
  const p = scheme.edges.get(probabilitiesOf(node)) as Code
  const logitCode = scheme.coverage === 'full' ? scheme.edges.get(logitsOf(node)) : undefined
  const { rows, width } = q
  const channels = width / node.heads
  const output = matrix(rows, width, () => 0)
  for (const window of windowsIn(node, rows)) {
    const tokens = window.rows.length
    for (let head = 0; head < node.heads; head++) {
      const [stepQ, stepK, stepV] = [node.q, node.k, node.v].map((name) => stepAt(codeOf(name), head, node.heads))
      const codeP = { ...p, step: stepAt(p, head, node.heads) }
      const logitScale = fround(stepQ * stepK * scaleOf(node, head))
      const outputScale = fround(codeP.step * stepV)
      for (let t = 0; t < tokens; t++) {
        // The exact sums and one rounding of the logit; what the contract rounds on the way lies far below a level of P.
        const logits = window.rows.map((row, s) => {
          let sum = 0
          for (let c = head * channels; c < (head + 1) * channels; c++) sum += q.data[window.rows[t] * width + c] * k.data[row * width + c]
          const logit = fround(sum * logitScale + (bias ? bias[(head * tokens + t) * tokens + s] : 0))
          if (!window.attends(t, s)) return Number.NEGATIVE_INFINITY
          return logitCode ? nearestLevel(logitCode, logit) * logitCode.step : logit
        })
        const most = Math.max(...logits)
        const weights = logits.map((logit) => Math.exp(logit - most))
        const total = weights.reduce((a, b) => a + b, 0)
        const codeOfQuery = codeOfRow(codeP, window.rows[t])
        const levels = weights.map((weight) => nearestLevel(codeOfQuery, p.relative ? weight : weight / total))
        const scale = p.relative
          ? fround(
              stepV /
                Math.max(
                  levels.reduce((a, b) => a + b, 0),
                  1,
                ),
            )
          : outputScale
        for (let c = head * channels; c < (head + 1) * channels; c++) {
          let sum = 0
          for (let s = 0; s < tokens; s++) sum += levels[s] * v.data[window.rows[s] * width + c]
          output.data[window.rows[t] * width + c] = fround(fround(sum) * scale)
        }
      }
    }
  }
  return output
}
