import { takeFineFirst, takesFactors } from '../graph/coverage.js'
import { type Graph, inputsOf, type Node, type Tensor } from '../graph/graph.js'
import { type OperandKind, operandsOf, storageOf } from '../graph/operands.js'
import { type Code, FINE_BITS, logitsOf, probabilitiesOf, type Scheme } from '../graph/scheme.js'
import { type AttentionNode, windowsOf } from '../graph/windows.js'

/**
 * What a graph's scheme needs codes for, with what the searches need to know of each: which layers read it, and what kind of values it
 * holds.
 */

export type LinearNode = Extract<Node, { op: 'linear' }>

export interface WeightOperand {
  kind: 'weight'
  /** Name of the weight tensor. */
  name: string
  node: LinearNode
  elements: number
  /** What it multiplies. */
  input: ActivationOperand
}

export interface ActivationOperand {
  kind: Exclude<OperandKind, 'weight'> | 'gelu output'
  /** Name of the edge, or {@link probabilitiesOf} or {@link logitsOf} an attention node. */
  name: string
  /** Elements per image, in rows of `width`. */
  elements: number
  width: number
  /** The linear layers that read it. */
  readers: LinearNode[]
  /** The attention node that reads or makes it, when it is one of its operands. */
  attention: AttentionNode | null
  /** Whether its code may have a factor for each column. */
  factors: boolean
  /** Whether levels may lie anywhere around 0: GELU's outputs, far more of them positive than not, where linear layers alone read them. */
  anyZero: boolean
  /** Whether codes of less than 8 bits shall have a fine first row ({@link Code.fineFirst}). */
  fineFirst: boolean
}

/**
 * Elements of an image that are fine, and have 8 bits at any width of the others: the first row, or of softmax the weights of the first
 * query of each head.
 */
export function fineElements(operand: WeightOperand | ActivationOperand): number {
  if (operand.kind === 'weight' || !operand.fineFirst) return 0
  return operand.kind === 'probabilities' ? operand.elements / operand.width : operand.width
}

/** The average that other elements may have when fine ones are paid for out of an average of all. */
export function averageBesideFine(operands: (WeightOperand | ActivationOperand)[], averageBits: number): number {
  const all = operands.reduce((sum, { elements }) => sum + elements, 0)
  const fine = operands.reduce((sum, operand) => sum + fineElements(operand), 0)
  return (averageBits * all - FINE_BITS * fine) / (all - fine)
}

export interface Operands {
  weights: WeightOperand[]
  activations: ActivationOperand[]
}

export function tensorOf(graph: Graph, name: string): Tensor {
  const tensor = graph.constants.get(name)
  if (!tensor) throw new Error(`constant ${name} is missing from the graph`)
  return tensor
}

/** @param fineFirst whether first rows shall be fine, where they can be and the predictions are read from the first row */
export function findOperands(graph: Graph, coverage: Scheme['coverage'] = 'partial', fineFirst = false): Operands {
  const fine = fineFirst && graph.nodes.some((node) => node.op === 'row' && node.row === 0) ? takeFineFirst(graph) : new Set()
  const stored = storageOf(graph)
  const linears = graph.nodes.filter((node): node is LinearNode => node.op === 'linear')
  const attentions = graph.nodes.filter((node): node is AttentionNode => node.op === 'attention')
  const gelus = new Set(graph.nodes.flatMap((node) => (node.op === 'gelu' ? [node.output] : [])))
  for (const node of graph.nodes) if (node.op === 'scale' && gelus.has(node.input)) gelus.add(node.output)
  const all = operandsOf(graph, { coverage, weights: new Map() })
  const activations = all.flatMap(({ kind, name, elements }): ActivationOperand[] => {
    if (kind === 'weight') return []
    const attention = attentions.find((node) => [node.q, node.k, node.v, probabilitiesOf(node), logitsOf(node)].includes(name)) ?? null
    const width =
      kind === 'probabilities' || kind === 'logits'
        ? windowsOf(attention as AttentionNode, graph.edges.get((attention as AttentionNode).output) as { rows: number }).tokens
        : (graph.edges.get(name)?.width as number)
    const readers = linears.filter((node) => stored(node.input).edge === name)
    const factors = kind === 'residual' && takesFactors(graph, name)
    const gelu = kind === 'input' && gelus.has(name)
    const anyZero = gelu && graph.nodes.every((node) => node.op === 'linear' || !inputsOf(node).includes(name))
    return [
      {
        kind: gelu ? 'gelu output' : kind,
        name,
        elements,
        width,
        readers,
        attention,
        factors,
        anyZero,
        fineFirst: fine.has(name) && kind !== 'residual' && kind !== 'gelu input',
      },
    ]
  })
  const weights = all.flatMap(({ kind, name, elements }): WeightOperand[] => {
    if (kind !== 'weight') return []
    const node = linears.find(({ weight }) => weight === name) as LinearNode
    const input = activations.find(({ readers }) => readers.includes(node)) as ActivationOperand
    return [{ kind, name, node, elements, input }]
  })
  return { weights, activations }
}
