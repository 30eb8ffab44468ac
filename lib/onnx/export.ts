import { type Edge, type Graph, inputEdges, inputsOf, type Node, type NodeOf, type Tensor } from '../graph/graph.js'
import { mergeRows, scalesOf, windowRegions, windowRows, windowsOf } from '../graph/windows.js'
import { float, int, ints, OnnxBuilder } from './builder.js'
import type { LinearForm } from './products.js'

/**
 * A graph as nodes of ONNX, opset 17. An edge of [rows x width] is a tensor [batch][rows][width]; the batch is free, so shapes name it by
 * -1 alone. Nodes are put so that onnxruntime finds what it has single kernels for: LayerNormalization with the addition before it, GELU
 * with the bias before it, products with a factor.
 */

export const INPUT = 'pixels'
export const OUTPUT = 'logits'

/** What a token adds to the logits of tokens that it must not attend to: exp of it is 0 beside any other. */
const NOT_ATTENDED = -1e4

/**
 * @param linear how linear layers are written; the patch embedding is a float convolution in all forms
 * @throws Error that names the node which has no form in ONNX
 */
export async function toOnnx(graph: Graph, linear: LinearForm, signal?: AbortSignal): Promise<OnnxBuilder> {
  if (inputEdges(graph).length > 1) throw new Error('a graph with more inputs than its image cannot be exported')
  const translation = new Translation(graph, linear)
  for (const node of graph.nodes) {
    translation.add(node)
    await new Promise((resolve) => setImmediate(resolve))
    signal?.throwIfAborted()
  }
  return translation.finish()
}

class Translation {
  private readonly builder = new OnnxBuilder([INPUT, OUTPUT])
  /** The tensor of each edge. */
  private readonly tensors = new Map<string, string>()
  /** Linear layers that become one with those beside them, see {@link packed}. */
  private readonly joined: Map<string, NodeOf<'linear'>[]>

  constructor(
    private readonly graph: Graph,
    private readonly linear: LinearForm,
  ) {
    this.joined = new Map(graph.nodes.flatMap((node) => (node.op === 'attention' ? [[node.name, this.packed(node)] as const] : [])))
    this.tensors.set(graph.input, INPUT)
  }

  finish(): OnnxBuilder {
    const { width } = this.edge(this.graph.output)
    this.builder.node('Reshape', OUTPUT, [this.tensor(this.graph.output), this.builder.list([-1, width])], {}, OUTPUT)
    return this.builder
  }

  add(node: Node): void {
    const tensor = this.translate(node)
    if (tensor !== null) this.tensors.set(node.output, tensor)
  }

  /** @returns the tensor of the node's output, or null where another node writes what is needed of it */
  private translate(node: Node): string | null {
    const { builder } = this
    const { name } = node
    switch (node.op) {
      case 'patchify':
        return null
      case 'linear': {
        const patches = this.graph.nodes.find((other) => other.op === 'patchify' && other.output === node.input)
        if (patches) return this.patchEmbedding(node, patches as NodeOf<'patchify'>)
        if ([...this.joined.values()].some((linears) => linears.includes(node))) return null
        return this.product(name, [node], this.tensor(node.input))
      }
      case 'tokens':
        return this.tokens(node)
      case 'layernorm': {
        const inputs = [this.tensor(node.input), this.floats(node.gamma), this.floats(node.beta)]
        return builder.node('LayerNormalization', name, inputs, { axis: int(-1), epsilon: float(node.eps) })
      }
      case 'attention':
        return this.attention(node)
      case 'gelu':
        return this.gelu(name, this.tensor(node.input))
      case 'scale':
        return builder.node('Mul', name, [this.tensor(node.input), this.floats(node.factor)])
      case 'add':
      case 'multiply':
        return builder.node(node.op === 'add' ? 'Add' : 'Mul', name, [this.tensor(node.left), this.tensor(node.right)])
      case 'row':
        return builder.node('Gather', name, [this.tensor(node.input), builder.list([node.row])], { axis: int(1) })
      case 'slice':
        return this.slice(node)
      case 'merge':
        return this.merge(node)
      case 'mean':
        return builder.node('ReduceMean', name, [this.tensor(node.input)], { axes: ints(1), keepdims: int(1) })
      default:
        throw new Error(`${name}: ${node.op} cannot be exported to ONNX`)
    }
  }

  /** Patches and the layer behind them as a convolution, whose weight has the same order. */
  private patchEmbedding(node: NodeOf<'linear'>, { input, channels, patchHeight, patchWidth }: NodeOf<'patchify'>): string {
    const { builder } = this
    const { rows, width } = this.edge(node.output)
    const weight = this.constant(node.weight)
    const inputs = [this.tensor(input), builder.floats(node.weight, [width, channels, patchHeight, patchWidth], weight.data)]
    if (node.bias !== null) inputs.push(this.floats(node.bias))
    const sides = { kernel_shape: ints(patchHeight, patchWidth), strides: ints(patchHeight, patchWidth) }
    const map = builder.node('Conv', `${node.name}.conv`, inputs, sides)
    const columns = builder.node('Reshape', `${node.name}.columns`, [map, builder.list([-1, width, rows])])
    return builder.node('Transpose', node.name, [columns], { perm: ints(0, 2, 1) })
  }

  /** Room for the prefix, then both constants in one addition. */
  private tokens({ name, input, output, prefix, positions }: NodeOf<'tokens'>): string {
    const { builder } = this
    const { rows, width } = this.edge(output)
    const [first, others] = [this.constant(prefix), this.constant(positions)]
    const added = new Float32Array(rows * width)
    added.set(first.data)
    added.set(others.data, first.data.length)
    const padded = builder.node('Pad', `${name}.pad`, [this.tensor(input), builder.list([0, first.shape[0], 0, 0, 0, 0])])
    return builder.node('Add', name, [padded, builder.floats(`${name}.constants`, [1, rows, width], added)])
  }

  /** x (1 + erf(x / sqrt 2)) / 2, in the form that onnxruntime knows as one kernel. */
  private gelu(name: string, x: string): string {
    const { builder } = this
    const ratio = builder.node('Div', `${name}.ratio`, [x, builder.scalar(Math.SQRT2)])
    const erf = builder.node('Erf', `${name}.erf`, [ratio])
    const share = builder.node('Add', `${name}.share`, [erf, builder.scalar(1)])
    const twice = builder.node('Mul', `${name}.twice`, [x, share])
    return builder.node('Mul', name, [twice, builder.scalar(0.5)])
  }

  private slice({ name, input, row, rows, column, width }: NodeOf<'slice'>): string {
    const { builder } = this
    const range = [builder.list([row, column]), builder.list([row + rows, column + width]), builder.list([1, 2])]
    return builder.node('Slice', name, [this.tensor(input), ...range])
  }

  private merge({ name, input, output, height, width }: NodeOf<'merge'>): string {
    const { builder } = this
    const merged = this.edge(output)
    const table = mergeRows(height, width)
    let from = this.tensor(input)
    // Where the map has ended, the row of zeros behind it.
    if (table.includes(-1)) from = builder.node('Pad', `${name}.pad`, [from, builder.list([0, 0, 0, 0, 1, 0])])
    const rows = table.map((row) => (row < 0 ? height * width : row))
    const neighbours = this.gather(`${name}.neighbours`, from, rows)
    return builder.node('Reshape', name, [neighbours, builder.list([-1, merged.rows, merged.width])])
  }

  /** A linear layer, or several on the same input side by side. */
  private product(name: string, nodes: NodeOf<'linear'>[], input: string): string {
    const inputs = this.edge(nodes[0].input).width
    const weights = nodes.map((node) => this.constant(node.weight).data)
    const outputs = nodes.reduce((sum, node) => sum + this.edge(node.output).width, 0)
    const weight = nodes.length === 1 ? weights[0] : new Float32Array(outputs * inputs)
    const bias = nodes.some((node) => node.bias !== null) ? new Float32Array(outputs) : null
    let first = 0
    for (const [i, node] of nodes.entries()) {
      if (weight !== weights[i]) weight.set(weights[i], first * inputs)
      if (node.bias !== null) bias?.set(this.constant(node.bias).data, first)
      first += this.edge(node.output).width
    }
    return this.linear(this.builder, { name, input, edge: nodes[0].input, outputs, inputs, weight, bias })
  }

  /** The layers of queries, keys and values where they read the same edge and nothing else reads them, else none. */
  private packed(node: NodeOf<'attention'>): NodeOf<'linear'>[] {
    const edges = inputsOf(node)
    const linears = edges.map((edge) => this.graph.nodes.find((other) => other.output === edge))
    const alone = edges.every((edge) => this.graph.nodes.filter((other) => inputsOf(other).includes(edge)).length === 1)
    const same = linears.every((other) => other?.op === 'linear' && other.input === (linears[0] as NodeOf<'linear'>).input)
    return same && alone && new Set(edges).size === edges.length ? (linears as NodeOf<'linear'>[]) : []
  }

  private attention(node: NodeOf<'attention'>): string {
    const { builder } = this
    const { name, heads, windows } = node
    const { rows, width } = this.edge(node.output)
    const { tokens } = windowsOf(node, { rows })
    const order = windows ? windowRows(windows) : null
    const moved = order?.some((row, i) => row !== i) ? order : null
    const [q, k, v] = this.queriesKeysValues(node, moved)
    const split = (part: string, from: string, ...perm: number[]) => {
      const parts = builder.node('Reshape', `${name}.${part}.heads`, [from, builder.list([-1, tokens, heads, width / heads])])
      return builder.node('Transpose', `${name}.${part}.rows`, [parts], { perm: ints(...perm) })
    }
    const products = builder.node('MatMul', `${name}.products`, [split('query', q, 0, 2, 1, 3), split('key', k, 0, 2, 3, 1)])
    const logits = this.biased(node, builder.node('Mul', `${name}.logits`, [products, this.scales(node)]))
    const probabilities = builder.node('Softmax', `${name}.probabilities`, [logits], { axis: int(-1) })
    const sums = builder.node('MatMul', `${name}.sums`, [probabilities, split('value', v, 0, 2, 1, 3)])
    const joined = builder.node('Transpose', `${name}.joined`, [sums], { perm: ints(0, 2, 1, 3) })
    const output = builder.node('Reshape', moved ? `${name}.windows` : name, [joined, builder.list([-1, rows, width])])
    return moved ? this.gather(name, output, inverse(moved)) : output
  }

  /** @param order of the rows; null as they are */
  private queriesKeysValues(node: NodeOf<'attention'>, order: Int32Array | null): string[] {
    const { builder } = this
    const { name } = node
    const arranged = (ending: string, tensor: string) => (order ? this.gather(`${name}.${ending}`, tensor, order) : tensor)
    const linears = this.joined.get(name) as NodeOf<'linear'>[]
    if (linears.length === 0) return inputsOf(node).map((edge, i) => arranged(`${PARTS[i]}.windows`, this.tensor(edge)))
    const packed = this.product(`${name}.packed`, linears, arranged('input.windows', this.tensor(linears[0].input)))
    const widths = builder.list(linears.map((linear) => this.edge(linear.output).width))
    return builder.nodeOf('Split', `${name}.split`, [packed, widths], { axis: int(2) }, PARTS)
  }

  private scales(node: NodeOf<'attention'>): string {
    const scales = scalesOf(node)
    if (scales.every((scale) => scale === scales[0])) return this.builder.scalar(scales[0])
    return this.builder.floats(`${node.name}.scales`, [scales.length, 1, 1], Float32Array.from(scales))
  }

  /** The bias of positions, and in shifted windows what keeps parts that were not neighbours from each other. */
  private biased(node: NodeOf<'attention'>, logits: string): string {
    const { builder } = this
    const { name, heads, windows, logitBias } = node
    const { rows } = this.edge(node.output)
    const { count, tokens } = windowsOf(node, { rows })
    const regions = windows && windowRegions(windows)
    const bias = logitBias === undefined ? null : this.constant(logitBias).data
    if (!regions) {
      if (bias === null) return logits
      return builder.node('Add', `${name}.biased`, [logits, builder.floats(`${name}.bias`, [heads, tokens, tokens], bias)])
    }
    const added = new Float32Array(count * heads * tokens * tokens)
    added.forEach((_, i) => {
      const [s, t, w] = [i % tokens, Math.floor(i / tokens) % tokens, Math.floor(i / (tokens * tokens * heads))]
      const masked = regions[w * tokens + t] !== regions[w * tokens + s]
      added[i] = (bias?.[i % bias.length] ?? 0) + (masked ? NOT_ATTENDED : 0)
    })
    const table = builder.floats(`${name}.bias`, [count, heads, tokens, tokens], added)
    const apart = builder.node('Reshape', `${name}.apart`, [logits, builder.list([-1, count, heads, tokens, tokens])])
    const biased = builder.node('Add', `${name}.biased`, [apart, table])
    return builder.node('Reshape', `${name}.together`, [biased, builder.list([-1, heads, tokens, tokens])])
  }

  private gather(name: string, from: string, rows: Int32Array): string {
    const data = BigInt64Array.from(rows, BigInt)
    const table = this.builder.constant(`${name}.table`, { type: 'int64', shape: [rows.length], data })
    return this.builder.node('Gather', name, [from, table], { axis: int(1) })
  }

  private floats(name: string): string {
    const { shape, data } = this.constant(name)
    return this.builder.floats(name, shape, data)
  }

  private constant(name: string): Tensor {
    const tensor = this.graph.constants.get(name)
    if (!tensor) throw new Error(`the constant ${name} is missing`)
    return tensor
  }

  private tensor(edge: string): string {
    const tensor = this.tensors.get(edge)
    if (tensor === undefined) throw new Error(`the edge ${edge} cannot be exported to ONNX: only a linear layer may read patches`)
    return tensor
  }

  private edge(name: string): Edge {
    return this.graph.edges.get(name) as Edge
  }
}

const PARTS = ['query', 'key', 'value']

/** Where each row went. */
function inverse(rows: Int32Array): Int32Array {
  const back = new Int32Array(rows.length)
  rows.forEach((row, i) => {
    back[row] = i
  })
  return back
}
