import { type Graph, inputsOf, type Node } from './graph.js'
import type { storageOf } from './operands.js'

/**
 * Nodes become steps, one kernel call each: GELU, scales, additions and positions move into the linear layer before them, rows become views.
 */

type NodeOf<Op extends Node['op']> = Extract<Node, { op: Op }>

export interface LinearStep {
  op: 'linear'
  node: NodeOf<'linear'>
  output: string
  /** Where in the output the rows start: behind the prefix when the layer writes tokens. */
  firstRow: number
  activation: 'none' | 'gelu'
  /** Constant by which the columns are multiplied, after the activation. */
  gain: string | null
  /** Added last: an edge, or a constant that is the same for every image. */
  residual: { edge: string } | { constant: string } | null
}

export type Step =
  | LinearStep
  | { op: 'patchify'; node: NodeOf<'patchify'>; output: string }
  | { op: 'layernorm'; node: NodeOf<'layernorm'>; output: string }
  | { op: 'attention'; node: NodeOf<'attention'>; output: string }
  | { op: 'merge'; node: NodeOf<'merge'>; output: string }
  | { op: 'mean'; node: NodeOf<'mean'>; output: string }
  /** The constant rows in front of the tokens. */
  | { op: 'prefix'; node: NodeOf<'tokens'>; output: string }

/** What a linear layer in front of it computes on the way. */
const EXTENSIONS = new Set<Node['op']>(['gelu', 'scale', 'add', 'tokens'])

/**
 * Steps in an order in which they can run.
 *
 * @param kept edges that have to exist afterwards, even where a fused kernel would never write them
 * @throws Error that names a node no kernel can run: GELU, additions and tokens need a linear layer in front
 */
export function fuse(graph: Graph, kept: Set<string>): Step[] {
  const nodes = liveNodes(graph, kept)
  const readers = new Map<string, Node[]>()
  for (const node of nodes) {
    for (const edge of inputsOf(node)) readers.set(edge, [...(readers.get(edge) ?? []), node])
  }
  const steps: Step[] = []
  /** What would compute an edge, for the nodes that extend it; `waiting` ones are not among the steps yet. */
  const linears = new Map<string, { step: LinearStep; waiting: boolean }>()

  const write = (edge: string) => {
    const linear = linears.get(edge)
    if (!linear?.waiting) return
    linear.waiting = false
    steps.push(linear.step)
  }
  const offer = (step: LinearStep) => {
    linears.set(step.output, { step, waiting: true })
    const next = readers.get(step.output) ?? []
    const extended = next.length === 1 && EXTENSIONS.has(next[0].op)
    if (!extended || kept.has(step.output)) write(step.output)
  }
  const extendable = (edge: string) => {
    const linear = linears.get(edge)
    return linear && linear.step.residual === null ? linear : undefined
  }

  for (const node of nodes) {
    switch (node.op) {
      case 'linear':
        offer({ op: 'linear', node, output: node.output, firstRow: 0, activation: 'none', gain: null, residual: null })
        break
      case 'gelu': {
        const linear = extendable(node.input)
        if (linear?.step.activation !== 'none' || linear.step.gain !== null)
          throw new Error(`${node.name}: GELU has to follow a linear layer`)
        offer({ ...linear.step, output: node.output, activation: 'gelu' })
        break
      }
      case 'scale': {
        const linear = extendable(node.input)
        if (!linear || linear.step.gain !== null) throw new Error(`${node.name}: a scale has to follow a linear layer or its GELU`)
        offer({ ...linear.step, output: node.output, gain: node.factor })
        break
      }
      case 'add': {
        const candidates = [node.right, node.left].filter(extendable)
        const edge = candidates.find((candidate) => linears.get(candidate)?.waiting) ?? candidates[0]
        if (edge === undefined) throw new Error(`${node.name}: one side of an addition has to be a linear layer`)
        const other = edge === node.right ? node.left : node.right
        write(other)
        const { step } = linears.get(edge) as { step: LinearStep }
        steps.push({ ...step, output: node.output, residual: { edge: other } })
        break
      }
      case 'tokens': {
        const linear = extendable(node.input)
        if (!linear) throw new Error(`${node.name}: tokens have to follow a linear layer`)
        const firstRow = (graph.constants.get(node.prefix) as { shape: number[] }).shape[0]
        steps.push({ op: 'prefix', node, output: node.output })
        steps.push({ ...linear.step, output: node.output, firstRow, residual: { constant: node.positions } })
        break
      }
      case 'row':
        break
      default:
        steps.push({ op: node.op, node, output: node.output } as Step)
    }
  }
  return steps
}

/** The edges whose storage a step reads (rows resolved), first the operands of its product. */
export function readsOf(step: Step, stored: ReturnType<typeof storageOf>): string[] {
  if (step.op === 'prefix') return []
  const edges = inputsOf(step.node).map((edge) => stored(edge).edge)
  if (step.op === 'linear' && step.residual && 'edge' in step.residual) edges.push(stored(step.residual.edge).edge)
  return edges
}

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
