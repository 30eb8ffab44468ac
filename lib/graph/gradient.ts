import { type Edge, type Graph, inputEdges, type Node, type NodeOf, type Tensor } from './graph.js'
import { probabilitiesOf } from './scheme.js'
import { constantShapes, inferEdges } from './validate.js'

/**
 * Reverse mode: a graph with the nodes of a model and behind them, last node first, nodes that carry a gradient of the logits back to every
 * edge. It runs like any other graph; what nobody asks for, lowering leaves out.
 */

export interface GradientGraph {
  /** Its output is still that of the model; the gradient of a loss with respect to the logits comes with each image as its second input. */
  graph: Graph
  /**
   * By edge of the model (or {@link probabilitiesOf} an attention node) the edge that holds the gradient of the loss with respect to it.
   * Edges are missing whose gradient is zero because the logits do not depend on them, and the image in front of patches.
   */
  gradients: Map<string, string>
  /** By constant, for those that can be learned: what adds up to the gradient with respect to it, one share for each node that reads it. */
  constants: Map<string, Share[]>
}

/**
 * Part of the gradient of a constant, summed over all rows and images: left^T right for a matrix, the sum of the rows of an edge for a
 * vector.
 */
export type Share = { left: string; right: string } | { rows: string }

/** @throws Error that names a node without a rule */
export function gradientGraph(model: Graph): GradientGraph {
  const builder = new Builder(model)
  const seed = `${model.output}.seed`
  builder.contribute(model.output, seed)
  for (const node of [...model.nodes].reverse()) {
    const gradient = builder.total(node.output)
    if (gradient === undefined) continue
    const rule = RULES[node.op] as ((node: Node, gradient: string, builder: Builder) => void) | undefined
    if (!rule) throw new Error(`${node.name}: the gradient of ${node.op} is not known`)
    rule(node, gradient, builder)
  }
  for (const edge of inputEdges(model)) builder.total(edge)

  const { gradients, shares } = builder
  const nodes = [...model.nodes, ...builder.nodes]
  const constants = new Map([...model.constants, ...builder.constants])
  const more = [...(model.moreInputs ?? []), seed]
  const edgeOf = (name: string) => model.edges.get(name === seed ? model.output : name) as Edge
  const shapes = more.map((name): [string, Edge] => [name, edgeOf(name)])
  const edges = inferEdges(nodes, model.input, edgeOf(model.input), constantShapes({ constants }), shapes)
  return { graph: { ...model, nodes, edges, constants, moreInputs: more }, gradients, constants: shares }
}

/** What an operation does with the gradient of its output: it contributes to the gradients of its inputs and of its constants. */
const RULES: { [Op in Node['op']]?: (node: NodeOf<Op>, gradient: string, builder: Builder) => void } = {
  // Nothing learns from the pixels.
  patchify() {},
  linear(node, input, builder) {
    builder.pass(node.input, { op: 'linearGradient', ...names(node), input, weight: node.weight })
    builder.share(node.weight, { left: input, right: node.input })
    if (node.bias !== null) builder.share(node.bias, { rows: input })
  },
  tokens(node, input, builder) {
    const { rows, width } = builder.edge(node.input)
    builder.pass(node.input, { op: 'slice', ...names(node), input, row: builder.edge(node.output).rows - rows, rows, column: 0, width })
  },
  layernorm(node, gradient, builder) {
    const { input, gamma, eps } = node
    builder.pass(input, { op: 'layernormGradient', ...names(node), input, gradient, gamma, eps })
    builder.share(node.beta, { rows: gradient })
    const plain = names(node, 'normal')
    const { width } = builder.edge(input)
    builder.nodes.push({ op: 'layernorm', ...plain, input, gamma: builder.filled(width, 1), beta: builder.filled(width, 0), eps })
    builder.share(gamma, { rows: builder.product(names(node, 'gamma'), gradient, plain.output) })
  },
  attention(node, gradient, builder) {
    const { q, k, v } = node
    const all = names(node)
    builder.nodes.push({ ...node, op: 'attentionGradient', ...all, gradient })
    builder.gradients.set(probabilitiesOf(node), probabilitiesOf(all))
    const { rows, width } = builder.edge(q)
    for (const [i, edge] of [q, k, v].entries()) {
      const part = names(node, ['query', 'key', 'value'][i])
      builder.pass(edge, { op: 'slice', ...part, input: all.output, row: 0, rows, column: i * width, width })
    }
  },
  gelu(node, gradient, builder) {
    builder.pass(node.input, { op: 'geluGradient', ...names(node), input: node.input, gradient })
  },
  scale(node, input, builder) {
    builder.pass(node.input, { op: 'scale', ...names(node), input, factor: node.factor })
    builder.share(node.factor, { rows: builder.product(names(node, 'factor'), input, node.input) })
  },
  add(node, gradient, builder) {
    builder.contribute(node.left, gradient)
    builder.contribute(node.right, gradient)
  },
  multiply({ left, right, ...node }, gradient, builder) {
    builder.contribute(left, builder.product(names(node, 'left'), gradient, right))
    builder.contribute(right, builder.product(names(node, 'right'), gradient, left))
  },
  merge(node, input, builder) {
    const { height, width } = node
    builder.pass(node.input, { op: 'unmerge', ...names(node), input, height, width })
  },
  mean(node, input, builder) {
    const { rows, width } = builder.edge(node.input)
    const share = names(node, 'share')
    builder.nodes.push({ op: 'scale', ...share, input, factor: builder.filled(width, 1 / rows) })
    builder.pass(node.input, { op: 'repeat', ...names(node), input: share.output, rows })
  },
  row(node, input, builder) {
    builder.pass(node.input, { op: 'place', ...names(node), input, row: node.row, rows: builder.edge(node.input).rows })
  },
}

/** Name and output of what a node passes back. */
function names({ name }: { name: string }, part = ''): { name: string; output: string } {
  const back = `${name}.backward${part && `.${part}`}`
  return { name: back, output: back }
}

class Builder {
  readonly nodes: Node[] = []
  readonly gradients = new Map<string, string>()
  readonly shares = new Map<string, Share[]>()
  readonly constants = new Map<string, Tensor>()
  private readonly contributions = new Map<string, string[]>()

  constructor(private readonly model: Graph) {}

  edge(name: string): Edge {
    return this.model.edges.get(name) as Edge
  }

  /** One reader's share of the gradient of an edge. */
  contribute(edge: string, gradient: string): void {
    this.contributions.set(edge, [...(this.contributions.get(edge) ?? []), gradient])
  }

  /** Adds a node that computes a share. */
  pass(edge: string, node: Node): void {
    this.nodes.push(node)
    this.contribute(edge, node.output)
  }

  /** Part of the gradient of a constant. */
  share(constant: string, share: Share): void {
    this.shares.set(constant, [...(this.shares.get(constant) ?? []), share])
  }

  /** @returns the edge left * right */
  product({ name, output }: { name: string; output: string }, left: string, right: string): string {
    this.nodes.push({ op: 'multiply', name, output, left, right })
    return output
  }

  /** @returns the constant with `width` equal values */
  filled(width: number, value: number): string {
    const name = `filled.${width}.${value}`
    this.constants.set(name, { shape: [width], data: new Float32Array(width).fill(value) })
    return name
  }

  /** The sum of what all readers of an edge contributed, or undefined when none did. */
  total(edge: string): string | undefined {
    const shares = this.contributions.get(edge)
    if (!shares) return undefined
    const sum = shares.reduce((left, right, i) => {
      const output = i + 1 === shares.length ? `${edge}.gradient` : `${edge}.gradient.${i}`
      this.nodes.push({ op: 'add', name: output, output, left, right })
      return output
    })
    this.gradients.set(edge, sum)
    return sum
  }
}
