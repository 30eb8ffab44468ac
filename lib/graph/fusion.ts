import { type Graph, inputsOf, type Node, type NodeOf } from './graph.js'

/**
 * Nodes become steps, one kernel call each: GELU, scales, additions and positions move into the step before them when nothing else reads
 * what that would have written; rows and slices become views.
 */

/** Added last: an edge, or a constant that is the same for every image. */
type Residual = { edge: string } | { constant: string } | null

interface Extendable {
  output: string
  /** Where in the output the rows start: behind the prefix in a step that writes tokens. */
  firstRow: number
  /** Constant by which the columns are multiplied, after the function. */
  gain: string | null
  residual: Residual
}

export interface LinearStep extends Extendable {
  op: 'linear'
  node: NodeOf<'linear'> | NodeOf<'linearGradient'>
  activation: 'none' | 'gelu'
}

/** function(input) * gain * factor + residual, see native/ops/pointwise.h. */
export interface PointwiseStep extends Extendable {
  op: 'pointwise'
  /** The first of the nodes that it computes. */
  node: Node
  input: string
  function: 'identity' | 'gelu' | 'geluSlope'
  factor: string | null
}

export interface LayerNormGradientStep extends Extendable {
  op: 'layernormGradient'
  node: NodeOf<'layernormGradient'>
}

export type ExtendableStep = LinearStep | PointwiseStep | LayerNormGradientStep

export type Step =
  | ExtendableStep
  | { op: 'patchify'; node: NodeOf<'patchify'>; output: string }
  | { op: 'layernorm'; node: NodeOf<'layernorm'>; output: string }
  | { op: 'attention'; node: NodeOf<'attention'>; output: string }
  | { op: 'merge'; node: NodeOf<'merge'>; output: string }
  | { op: 'mean'; node: NodeOf<'mean'>; output: string }
  | { op: 'attentionGradient'; node: NodeOf<'attentionGradient'>; output: string }
  | { op: 'place'; node: NodeOf<'place'>; output: string }
  | { op: 'repeat'; node: NodeOf<'repeat'>; output: string }
  | { op: 'unmerge'; node: NodeOf<'unmerge'>; output: string }
  /** The constant rows in front of the tokens. */
  | { op: 'prefix'; node: NodeOf<'tokens'>; output: string }

/**
 * Steps in an order in which they can run.
 *
 * @param kept edges that have to exist afterwards, even where a fused kernel would never write them
 */
export function fuse(graph: Graph, kept: Set<string>): Step[] {
  const nodes = liveNodes(graph, kept)
  const readers = new Map<string, Node[]>()
  for (const node of nodes) {
    for (const edge of inputsOf(node)) readers.set(edge, [...(readers.get(edge) ?? []), node])
  }
  const steps: Step[] = []
  /** Steps by output that wait for their only reader, which can extend them. */
  const waiting = new Map<string, ExtendableStep>()

  const offer = (step: ExtendableStep) => {
    const [next, another] = readers.get(step.output) ?? []
    const extended = next && !another && !kept.has(step.output) && extend(graph, step, next)
    if (extended) waiting.set(step.output, step)
    else steps.push(step)
  }
  const release = (edge: string) => {
    const step = waiting.get(edge)
    if (step) steps.push(step)
    waiting.delete(edge)
  }
  /** Steps are complete when another node than an extending one reads them, so only `node` can be what its inputs wait for. */
  const absorb = (node: Node): ExtendableStep => {
    for (const edge of inputsOf(node).reverse()) {
      const step = waiting.get(edge)
      if (!step) continue
      waiting.delete(edge)
      inputsOf(node).forEach(release)
      return extend(graph, step, node) as ExtendableStep
    }
    return pointwise(graph, node)
  }

  for (const node of nodes) {
    const { output } = node
    const plain = { output, firstRow: 0, gain: null, residual: null }
    switch (node.op) {
      case 'linear':
      case 'linearGradient':
        offer({ op: 'linear', node, ...plain, activation: 'none' })
        break
      case 'layernormGradient':
        offer({ op: 'layernormGradient', node, ...plain })
        break
      case 'tokens':
        steps.push({ op: 'prefix', node, output })
        offer(absorb(node))
        break
      case 'gelu':
      case 'geluGradient':
      case 'scale':
      case 'add':
      case 'multiply':
        offer(absorb(node))
        break
      case 'row':
      case 'slice':
        break
      default:
        steps.push({ op: node.op, node, output } as Step)
    }
  }
  return steps
}

/** The step with the operation of its reader moved into it, or null where that does not fit. */
function extend(graph: Graph, step: ExtendableStep, node: Node): ExtendableStep | null {
  if (step.residual !== null) return null
  const { output } = node
  switch (node.op) {
    case 'gelu':
      return step.op === 'linear' && step.activation === 'none' && step.gain === null ? { ...step, output, activation: 'gelu' } : null
    case 'scale':
      return step.op !== 'layernormGradient' && step.gain === null ? { ...step, output, gain: node.factor } : null
    case 'add':
      return { ...step, output, residual: { edge: node.left === step.output ? node.right : node.left } }
    case 'tokens':
      return step.op === 'linear' ? { ...step, output, ...behindPrefix(graph, node) } : null
    default:
      return null
  }
}

/** A node on its own. */
function pointwise(graph: Graph, node: Node): PointwiseStep {
  const [input] = inputsOf(node)
  const { output } = node
  const step: PointwiseStep = {
    ...{ op: 'pointwise', node, output, input, function: 'identity' },
    ...{ firstRow: 0, gain: null, factor: null, residual: null },
  }
  switch (node.op) {
    case 'gelu':
      return { ...step, function: 'gelu' }
    case 'geluGradient':
      return { ...step, function: 'geluSlope', factor: node.gradient }
    case 'scale':
      return { ...step, gain: node.factor }
    case 'add':
      return { ...step, residual: { edge: node.right } }
    case 'multiply':
      return { ...step, factor: node.right }
    case 'tokens':
      return { ...step, ...behindPrefix(graph, node) }
    default:
      throw new Error(`${node.name}: ${node.op} is not computed element by element`)
  }
}

function behindPrefix(graph: Graph, { prefix, positions }: NodeOf<'tokens'>): { firstRow: number; residual: Residual } {
  const { shape } = graph.constants.get(prefix) as { shape: number[] }
  return { firstRow: shape[0], residual: { constant: positions } }
}

/** The edges that a step reads, first the operands of its product. */
export function inputsOfStep(step: Step): string[] {
  switch (step.op) {
    case 'prefix':
      return []
    case 'pointwise':
      return [step.input, ...(step.factor === null ? [] : [step.factor]), ...residualOf(step)]
    case 'linear':
    case 'layernormGradient':
      return [...inputsOf(step.node), ...residualOf(step)]
    default:
      return inputsOf(step.node)
  }
}

/** The edge that a step adds last, if there is one. */
export const residualOf = ({ residual }: Extendable): string[] => (residual && 'edge' in residual ? [residual.edge] : [])

function liveNodes(graph: Graph, kept: Set<string>): Node[] {
  const wanted = new Set(kept)
  const live: Node[] = []
  for (const node of [...graph.nodes].reverse()) {
    if (!wanted.has(node.output)) continue
    live.push(node)
    for (const edge of inputsOf(node)) wanted.add(edge)
  }
  return live.reverse()
}
