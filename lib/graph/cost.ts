import type { Graph, Node } from './graph.js'
import { codeOfOperand, isStored, type Operand, operandsOf } from './operands.js'
import type { Scheme } from './scheme.js'
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
  operands: (Operand & { bits: number })[]
}

export function costOf(graph: Graph, scheme: Scheme | null = null): Cost {
  const operands = operandsOf(graph, scheme).map((operand) => ({
    ...operand,
    bits: codeOfOperand(scheme, operand)?.bits ?? FLOAT_BITS,
  }))
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

function averageBits(operands: { elements: number; bits: number }[]): number {
  const elements = sum(operands.map((operand) => operand.elements))
  return elements === 0 ? 0 : sum(operands.map((operand) => operand.elements * operand.bits)) / elements
}
