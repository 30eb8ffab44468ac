import { fuse } from './fusion.js'
import { type Graph, inputsOf, type Node } from './graph.js'
import { type Code, probabilitiesOf } from './scheme.js'

/**
 * What is stored between the patches and the logits: all that a scheme of full coverage has a code for.
 */

/** The edges that kernels encode: not the logits and the partial sums of logits, and not merged rows, which are copies of coded ones. */
export function storedEdges(graph: Graph): Set<string> {
  const logits = logitEdges(graph)
  const steps = fuse(graph, new Set([graph.output])).filter(({ op, output }) => op !== 'merge' && !logits.has(output))
  return new Set(steps.map(({ output }) => output))
}

/** What knows one step for all columns of what it reads, or of what it writes. */
export const READS_ONE_STEP = new Set<Node['op']>(['linear', 'mean'])
export const WRITES_ONE_STEP = new Set<Node['op']>(['patchify', 'attention', 'mean'])

/**
 * Whether the code of an edge may have a factor for each column (powers of two where LayerNorm reads it). Attention takes factors by head.
 */
export function takesFactors(graph: Graph, edge: string): boolean {
  const origin = originOf(graph)
  return !graph.nodes.some(
    (node) =>
      (WRITES_ONE_STEP.has(node.op) && node.output === edge) ||
      (READS_ONE_STEP.has(node.op) && inputsOf(node).some((input) => origin(input) === edge)),
  )
}

/** What can have a fine first row ({@link Code.fineFirst}): edges of several rows, and {@link probabilitiesOf} attention nodes. */
export function takeFineFirst(graph: Graph): Set<string> {
  const writers = fuse(graph, new Set([graph.output])).filter((step) => {
    if (step.op === 'linear') return step.firstRow === 0
    return step.op === 'layernorm' || (step.op === 'attention' && !step.node.windows)
  })
  const several = writers.filter(({ output }) => (graph.edges.get(output) as { rows: number }).rows > 1)
  return new Set(several.flatMap((step) => (step.op === 'attention' ? [step.output, probabilitiesOf(step.node)] : [step.output])))
}

/** The edge whose code an edge has: that of its rows, also where they are merged. */
export function originOf(graph: Graph): (edge: string) => string {
  const copies = new Map(
    graph.nodes.flatMap((node) => (node.op === 'row' || node.op === 'merge' ? [[node.output, node.input] as const] : [])),
  )
  return (edge) => {
    for (let from = copies.get(edge); from !== undefined; from = copies.get(edge)) edge = from
    return edge
  }
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
