import type { Graph } from '../graph/graph.js'
import { type LinearNode, tensorOf } from './operands.js'

/**
 * Subtracts from a linear layer's bias what quantization adds to its mean output; a layer without bias gets one.
 *
 * @param graph changed: its node and its constants
 * @param float the graph whose bias is corrected
 * @param error [outputs]
 * @returns the name of the bias
 */
export function correctBias(graph: Graph, float: Graph, node: LinearNode, error: ArrayLike<number>): string {
  const target = graph.nodes.find((candidate): candidate is LinearNode => candidate.name === node.name)
  if (!target) throw new Error(`there is no layer ${node.name}`)
  const bias = node.bias === null ? new Float32Array(error.length) : tensorOf(float, node.bias).data
  target.bias ??= `${node.name}.bias`
  graph.constants.set(target.bias, { shape: [error.length], data: bias.map((b, o) => b - error[o]) })
  return target.bias
}
