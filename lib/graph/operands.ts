import { type Graph, inputsOf, type Node } from './graph.js'
import { type Code, probabilitiesOf, type Scheme } from './scheme.js'
import { constantShapes } from './validate.js'
import { probabilitiesShape } from './windows.js'

/**
 * The operands of a graph's matrix products: everything that a scheme gives a code.
 */

export type OperandKind = 'weight' | 'input' | 'query' | 'key' | 'value' | 'probabilities'

export interface Operand {
  kind: OperandKind
  /** The first node that reads it (that makes it, for probabilities). */
  layer: string
  /** A weight tensor, an edge, or {@link probabilitiesOf} an attention node. */
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

/** Every operand once, in the order in which nodes read them. A row of an edge counts as the whole edge, whose code it has. */
export function operandsOf(graph: Graph, scheme?: Scheme | null): Operand[] {
  const stored = storageOf(graph)
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
      add('probabilities', node, probabilitiesOf(node), rows * width)
    }
  }
  return [...operands.values()]
}

/** The code of an operand, or undefined when it is float. */
export function codeOfOperand(scheme: Scheme | null | undefined, operand: Operand): Pick<Code, 'bits'> | undefined {
  return operand.kind === 'weight' ? scheme?.weights.get(operand.name) : scheme?.edges.get(operand.name)
}
