import { storedEdges } from './coverage.js'
import { type Graph, inputsOf, type Node } from './graph.js'
import { type Code, logitsOf, probabilitiesOf, type Scheme } from './scheme.js'
import { constantShapes } from './validate.js'
import { probabilitiesShape } from './windows.js'

/**
 * What a scheme gives a code: the operands of a graph's matrix products, and with full coverage all else that is stored or rounded.
 */

/** The last three exist with full coverage: a stored edge that no product reads, and what is rounded in registers and never stored. */
export type OperandKind = 'weight' | 'input' | 'query' | 'key' | 'value' | 'probabilities' | 'residual' | 'gelu input' | 'logits'

export interface Operand {
  kind: OperandKind
  /** The first node that reads it (that makes it, for probabilities). */
  layer: string
  /** A weight tensor, an edge, or {@link probabilitiesOf} or {@link logitsOf} an attention node. */
  name: string
  /** Parameters of a weight; elements per image of anything else. */
  elements: number
}

/** The edge whose storage an edge shares, and where it begins there: a row or a slice is a view of the edge it is taken from. */
export function storageOf(graph: Pick<Graph, 'nodes'>): (edge: string) => { edge: string; row: number; column: number } {
  const views = new Map(graph.nodes.flatMap((node) => (node.op === 'row' || node.op === 'slice' ? [[node.output, node] as const] : [])))
  return (edge) => {
    let [row, column] = [0, 0]
    for (let node = views.get(edge); node; node = views.get(edge)) {
      row += node.row
      column += node.op === 'slice' ? node.column : 0
      edge = node.input
    }
    return { edge, row, column }
  }
}

/** Whether an operand lies in memory between two kernels; only such operands count in averages of bits. */
export const isStored = ({ kind }: { kind: OperandKind | 'gelu output' }): boolean => kind !== 'gelu input' && kind !== 'logits'

/**
 * Every operand once, in the order in which nodes read them. A row of an edge counts as the whole edge, whose code it has; merged rows have
 * the code of the rows, and are operands of their own only where a product reads them. The coverage of the scheme decides whether there are
 * more than the operands of products.
 */
export function operandsOf(graph: Graph, scheme?: Pick<Scheme, 'coverage' | 'weights'> | null): Operand[] {
  const stored = storageOf(graph)
  const full = scheme?.coverage === 'full'
  const residual = full ? residualEdges(graph, stored) : new Set<string>()
  const shapeOf = constantShapes(graph, scheme)
  const operands = new Map<string, Operand>()
  const add = (kind: OperandKind, layer: Node, name: string, elements: number) => {
    const key = `${kind === 'weight' ? 'weight' : 'edge'} ${name}`
    if (!operands.has(key)) operands.set(key, { kind, layer: layer.name, name, elements })
  }
  const addEdge = (kind: OperandKind, layer: Node, edge: string) => {
    const name = stored(edge).edge
    const { rows, width } = graph.edges.get(name) as { rows: number; width: number }
    add(kind, layer, name, rows * width)
  }
  for (const node of graph.nodes) {
    if (node.op === 'linear') {
      addEdge('input', node, node.input)
      add(
        'weight',
        node,
        node.weight,
        (shapeOf(node.weight) as number[]).reduce((a, b) => a * b, 1),
      )
    } else if (node.op === 'attention') {
      inputsOf(node).forEach((edge, i) => addEdge((['query', 'key', 'value'] as const)[i], node, edge))
      const { rows, width } = probabilitiesShape(node, graph.edges.get(node.output) as { rows: number })
      if (full) add('logits', node, logitsOf(node), rows * width)
      add('probabilities', node, probabilitiesOf(node), rows * width)
    } else if (full) {
      if (node.op === 'gelu') addEdge('gelu input', node, node.input)
      for (const edge of inputsOf(node)) if (residual.has(stored(edge).edge)) addEdge('residual', node, edge)
    }
  }
  return [...operands.values()]
}

/** What is stored and no product reads. */
function residualEdges(graph: Graph, stored: ReturnType<typeof storageOf>): Set<string> {
  const edges = storedEdges(graph)
  for (const node of graph.nodes) {
    if (node.op !== 'linear' && node.op !== 'attention') continue
    for (const edge of inputsOf(node)) edges.delete(stored(edge).edge)
  }
  return edges
}

/** The code of an operand, or undefined when it is float. */
export function codeOfOperand(scheme: Scheme | null | undefined, operand: Operand): Pick<Code, 'bits' | 'fineFirst'> | undefined {
  return operand.kind === 'weight' ? scheme?.weights.get(operand.name) : scheme?.edges.get(operand.name)
}
