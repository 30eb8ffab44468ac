import { type Graph, inputsOf, type Node } from '../graph/graph.js'
import type { ActivationOperand } from './operands.js'

/**
 * How much the error of a row counts. What a layer adds to the residual stream is next divided by the standard deviation of the row, in a LayerNorm;
 * some trained models have rows hundreds of times as large as the others, and without these weights the searches would serve those alone.
 */

/** The edge to which the only reader of an operand adds, or null when it does something else. */
export function residualOf(graph: Graph, { readers }: Pick<ActivationOperand, 'readers'>): string | null {
  if (readers.length !== 1) return null
  const [{ output }] = readers
  const add = graph.nodes.find((node): node is Extract<Node, { op: 'add' }> => node.op === 'add' && inputsOf(node).includes(output))
  return add ? (add.left === output ? add.right : add.left) : null
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
    let [sum, squares] = [0, 0]
    for (let i = t * width; i < (t + 1) * width; i++) {
      sum += stream[i]
      squares += stream[i] * stream[i]
    }
    weights[t] = 1 / Math.max((squares - (sum * sum) / width) / width, 1e-12)
    total += weights[t]
  }
  return weights.map((w) => (w * weights.length) / total)
}
