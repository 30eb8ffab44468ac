import { fuse } from './fusion.js'
import { type Graph, inputsOf } from './graph.js'

/**
 * What is stored between the patches and the logits: all that a scheme of full coverage has a code for.
 */

/** The edges that kernels encode: not the logits and the partial sums of logits, and not merged rows, which are copies of coded ones. */
export function storedEdges(graph: Graph): Set<string> {
  const logits = logitEdges(graph)
  const steps = fuse(graph, new Set([graph.output])).filter(({ op, output }) => op !== 'merge' && !logits.has(output))
  return new Set(steps.map(({ output }) => output))
}

/** The output, and edges that nothing but additions and scales reads on their way into it: they stay float. */
function logitEdges(graph: Graph): Set<string> {
  const logits = new Set([graph.output])
  const others = new Set<string>()
  // Backwards, so that all readers of an edge are seen before the node that writes it.
  for (const node of [...graph.nodes].reverse()) {
    const sums = (node.op === 'add' || node.op === 'scale') && logits.has(node.output)
    for (const edge of inputsOf(node)) {
      if (sums && !others.has(edge)) {
        logits.add(edge)
        continue
      }
      others.add(edge)
      if (edge !== graph.output) logits.delete(edge)
    }
  }
  return logits
}
