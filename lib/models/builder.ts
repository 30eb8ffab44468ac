import type { Edge, Graph, Node, Tensor, Windows } from '../graph/graph.js'
import { constantShapes, inferEdges, validateGraph } from '../graph/validate.js'

/**
 * What vision transformers are put together from. A node's name is also the name of the edge that it writes, and the start of the names of
 * its constants.
 */

/**
 * Supplies a tensor by our name for it: that of a node with `.weight` or `.bias`, or another that the architecture lists.
 *
 * @returns null when a linear layer has no bias
 * @throws Error that names the tensor which is missing or has another shape
 */
export type Tensors = (name: string, shape: number[]) => Promise<Tensor | null>

export interface Patches {
  channels: number
  imageHeight: number
  imageWidth: number
  patchHeight: number
  patchWidth: number
}

/** A block of a transformer that normalises first. */
export interface Block {
  hidden: number
  heads: number
  intermediate: number
  eps: number
  windows?: Windows
  /** [heads][tokens][tokens] */
  logitBias?: Tensor
}

export class GraphBuilder {
  readonly nodes: Node[] = []
  readonly constants = new Map<string, Tensor>()

  constructor(private readonly tensors: Tensors) {}

  /** The graph, which ends with the node that was added last. */
  finish(architecture: string, { channels, imageHeight, imageWidth }: Patches): Graph {
    const { nodes, constants } = this
    const image: Edge = { rows: channels * imageHeight, width: imageWidth }
    const edges = inferEdges(nodes, 'pixels', image, constantShapes({ constants }))
    const output = nodes[nodes.length - 1].output
    const graph: Graph = { architecture, nodes, edges, constants, input: 'pixels', output }
    validateGraph(graph)
    return graph
  }

  /** Writes the edge `patch_embedding`. */
  async patchEmbedding({ channels, imageHeight: height, imageWidth: width, patchHeight, patchWidth }: Patches, hidden: number) {
    this.nodes.push({
      ...{ name: 'patches', output: 'patches', op: 'patchify', input: 'pixels' },
      ...{ channels, height, width, patchHeight, patchWidth },
    })
    const shape = [hidden, channels, patchHeight, patchWidth]
    await this.linear('patch_embedding', 'patches', channels * patchHeight * patchWidth, hidden, { shape })
  }

  /** @returns the edge that the block writes */
  async block(name: string, input: string, block: Block): Promise<string> {
    const { hidden, heads, intermediate, eps, windows, logitBias } = block
    const attention = `${name}.attention`
    const [q, k, v] = ['query', 'key', 'value'].map((part) => `${attention}.${part}`)
    await this.norm(`${name}.norm1`, input, hidden, eps)
    for (const part of [q, k, v]) await this.linear(part, `${name}.norm1`, hidden, hidden)
    this.nodes.push({
      ...{ name: attention, output: attention, op: 'attention', q, k, v, heads, scale: 1 / Math.sqrt(hidden / heads) },
      ...(windows && { windows }),
      ...(logitBias && { logitBias: this.constant(`${attention}.bias`, logitBias) }),
    })
    await this.linear(`${attention}.output`, attention, hidden, hidden)
    const middle = this.add(`${attention}.sum`, input, `${attention}.output`)
    await this.norm(`${name}.norm2`, middle, hidden, eps)
    await this.linear(`${name}.mlp.fc1`, `${name}.norm2`, hidden, intermediate)
    this.nodes.push({ name: `${name}.mlp.gelu`, output: `${name}.mlp.gelu`, op: 'gelu', input: `${name}.mlp.fc1` })
    await this.linear(`${name}.mlp.fc2`, `${name}.mlp.gelu`, intermediate, hidden)
    return this.add(`${name}.sum`, middle, `${name}.mlp.fc2`)
  }

  add(name: string, left: string, right: string): string {
    this.nodes.push({ name, output: name, op: 'add', left, right })
    return name
  }

  /** @param source our name of the tensors */
  async norm(name: string, input: string, width: number, eps: number, source = name): Promise<void> {
    const gamma = this.constant(`${name}.weight`, await this.need(`${source}.weight`, [width]))
    const beta = this.constant(`${name}.bias`, await this.need(`${source}.bias`, [width]))
    this.nodes.push({ name, output: name, op: 'layernorm', input, gamma, beta, eps })
  }

  /**
   * @param factor by which the weight and the bias are multiplied
   * @param shape of the weight as it is stored, when it is not a matrix
   */
  async linear(
    name: string,
    input: string,
    inputs: number,
    outputs: number,
    { factor = 1, shape = [outputs, inputs] } = {},
  ): Promise<void> {
    const scaled = (data: Float32Array) => (factor === 1 ? data : data.map((value) => value * factor))
    const { data } = await this.need(`${name}.weight`, shape)
    const weight = this.constant(`${name}.weight`, { shape: [outputs, inputs], data: scaled(data) })
    const tensor = await this.tensors(`${name}.bias`, [outputs])
    const bias = tensor && this.constant(`${name}.bias`, { shape: [outputs], data: scaled(tensor.data) })
    this.nodes.push({ name, output: name, op: 'linear', input, weight, bias })
  }

  constant(name: string, tensor: Tensor): string {
    this.constants.set(name, tensor)
    return name
  }

  async need(name: string, shape: number[]): Promise<Tensor> {
    const tensor = await this.tensors(name, shape)
    if (!tensor) throw new Error(`the tensor for ${name} is missing`)
    return tensor
  }
}
