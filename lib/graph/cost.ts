import type { Graph, Node } from './graph.js'
import { codeOfOperand, isStored, type Operand, operandsOf } from './operands.js'
import { type Code, FINE_BITS, probabilitiesOf, type Scheme } from './scheme.js'
import { windowsOf } from './windows.js'

/**
 * What a model costs: multiply-adds, and how many bits its operands have on average.
 */

const FLOAT_BITS = 32

export interface NodeCost {
  name: string
  /** Multiply-adds per image. */
  macs: number
}

export interface Cost {
  /** Multiply-adds of all matrix products per image. */
  macs: number
  /** Elements of the weights of linear layers. */
  weightParameters: number
  /** Elements per image of all other operands of matrix products, and with full coverage of the residual stream; each edge once. */
  activationElements: number
  /** Averages over elements; a float counts 32. What is rounded in registers and never stored (GELU and softmax inputs) counts nowhere. */
  weightBits: number
  activationBits: number
  nodes: NodeCost[]
  /** `fineElements`: those among the elements that have 8 bits at any width, where there are any ({@link Code.fineFirst}). */
  operands: (Operand & { bits: number; fineElements?: number })[]
}

export function costOf(graph: Graph, scheme: Scheme | null = null): Cost {
  const rowsOf = rowsOfImage(graph)
  const operands = operandsOf(graph, scheme).map((operand) => {
    const { bits = FLOAT_BITS, fineFirst } = codeOfOperand(scheme, operand) ?? {}
    return { ...operand, bits, ...(fineFirst !== undefined && { fineElements: operand.elements / rowsOf(operand.name) }) }
  })
  const weights = operands.filter(({ kind }) => kind === 'weight')
  const activations = operands.filter((operand) => operand.kind !== 'weight' && isStored(operand))
  const nodes = graph.nodes.map((node) => ({ name: node.name, macs: macsOf(graph, node) }))
  return {
    macs: sum(nodes.map(({ macs }) => macs)),
    weightParameters: sum(weights.map(({ elements }) => elements)),
    activationElements: sum(activations.map(({ elements }) => elements)),
    weightBits: averageBits(weights),
    activationBits: averageBits(activations),
    nodes,
    operands,
  }
}

function macsOf(graph: Graph, node: Node): number {
  const { rows, width } = graph.edges.get(node.output) as { rows: number; width: number }
  switch (node.op) {
    case 'linear':
    case 'linearGradient':
      return rows * width * (graph.edges.get(node.input) as { width: number }).width
    case 'attention':
      return 2 * rows * windowsOf(node, { rows }).tokens * width
    case 'attentionGradient':
      return (5 * rows * windowsOf(node, { rows }).tokens * width) / 3
    default:
      return 0
  }
}

const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0)

function averageBits(operands: Cost['operands']): number {
  const total = sum(operands.map(({ elements }) => elements))
  const bits = operands.map(({ elements, fineElements = 0, bits }) => (elements - fineElements) * bits + fineElements * FINE_BITS)
  return total === 0 ? 0 : sum(bits) / total
}

/** Rows of an image, or queries whose probabilities are stored. */
function rowsOfImage(graph: Graph): (name: string) => number {
  const queries = graph.nodes.flatMap((node) => (node.op === 'attention' ? [[probabilitiesOf(node), node.q] as const] : []))
  const edgeOf = new Map(queries)
  return (name) => (graph.edges.get(edgeOf.get(name) ?? name) as { rows: number }).rows
}
