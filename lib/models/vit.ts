import type { Edge, Graph, Node, Tensor } from '../graph/graph.js'
import { constantShapes, inferEdges, validateGraph } from '../graph/validate.js'

/**
 * Vision transformers (ViT, DeiT with and without distillation token) as graphs, whatever their tensors are called.
 */

export interface VitShape {
  /** 'vit' or 'deit'. */
  architecture: string
  channels: number
  imageHeight: number
  imageWidth: number
  patchHeight: number
  patchWidth: number
  hidden: number
  heads: number
  intermediate: number
  layers: number
  eps: number
  /** A second token behind the class token. */
  distillationToken: boolean
  /** A second head on the distillation token; the logits are the mean of both. */
  distillationHead: boolean
  classes: number
}

/**
 * Supplies a tensor by our name for it: `class_token` and `distillation_token` [hidden], `positions` [tokens][hidden], `patch_embedding`,
 * `layers.N.norm1`, `.attention.query`, `.attention.key`, `.attention.value`, `.attention.output`, `.norm2`, `.mlp.fc1`, `.mlp.fc2`, `norm`, `head`
 * and `distillation_head`, each with `.weight` and `.bias`.
 *
 * @returns null when a linear layer has no bias
 * @throws Error that names the tensor which is missing or has another shape
 */
export type VitTensors = (name: string, shape: number[]) => Promise<Tensor | null>

export async function buildVit(shape: VitShape, tensors: VitTensors): Promise<Graph> {
  if (shape.hidden % shape.heads) throw new Error(`a hidden size of ${shape.hidden} does not divide into ${shape.heads} heads`)
  const builder = new Builder(shape, tensors)
  await builder.build()
  const { nodes, constants } = builder
  const image: Edge = { rows: shape.channels * shape.imageHeight, width: shape.imageWidth }
  const edges = inferEdges(nodes, 'pixels', image, constantShapes({ constants }))
  const output = nodes[nodes.length - 1].output
  const graph: Graph = { architecture: shape.architecture, nodes, edges, constants, input: 'pixels', output }
  validateGraph(graph)
  return graph
}

/** A node's name is also the name of the edge that it writes, and the start of the names of its constants. */
class Builder {
  readonly nodes: Node[] = []
  readonly constants = new Map<string, Tensor>()

  constructor(
    private readonly shape: VitShape,
    private readonly tensors: VitTensors,
  ) {}

  async build(): Promise<void> {
    const { hidden, layers } = this.shape
    let rows = await this.embed()
    for (let layer = 0; layer < layers; layer++) rows = await this.layer(`layers.${layer}`, rows)
    const { classes, distillationHead } = this.shape
    this.nodes.push({ name: 'class_token', output: 'class_token', op: 'row', input: rows, row: 0 })
    await this.norm('norm', 'class_token', 'norm')
    if (!distillationHead) {
      await this.linear('head', 'norm', hidden, classes)
      return
    }
    // The mean of two heads is the sum of two halved ones.
    this.nodes.push({ name: 'distillation_token', output: 'distillation_token', op: 'row', input: rows, row: 1 })
    await this.norm('distillation_norm', 'distillation_token', 'norm')
    await this.linear('head', 'norm', hidden, classes, 0.5)
    await this.linear('distillation_head', 'distillation_norm', hidden, classes, 0.5)
    this.nodes.push({ name: 'logits', output: 'logits', op: 'add', left: 'head', right: 'distillation_head' })
  }

  private async embed(): Promise<string> {
    const { channels, imageHeight, imageWidth, patchHeight, patchWidth, hidden } = this.shape
    this.nodes.push({
      name: 'patches',
      output: 'patches',
      op: 'patchify',
      input: 'pixels',
      channels,
      height: imageHeight,
      width: imageWidth,
      patchHeight,
      patchWidth,
    })
    await this.linear('patch_embedding', 'patches', channels * patchHeight * patchWidth, hidden, 1, [
      hidden,
      channels,
      patchHeight,
      patchWidth,
    ])
    const patches = Math.floor(imageHeight / patchHeight) * Math.floor(imageWidth / patchWidth)
    const names = this.shape.distillationToken ? ['class_token', 'distillation_token'] : ['class_token']
    const positions = await this.need('positions', [names.length + patches, hidden])
    const prefix = new Float32Array(names.length * hidden)
    for (const [row, name] of names.entries()) {
      const token = await this.need(name, [hidden])
      for (let i = 0; i < hidden; i++) prefix[row * hidden + i] = token.data[i] + positions.data[row * hidden + i]
    }
    this.constants.set('embeddings.prefix', { shape: [names.length, hidden], data: prefix })
    this.constants.set('embeddings.positions', { shape: [patches, hidden], data: positions.data.slice(prefix.length) })
    this.nodes.push({
      name: 'embeddings',
      output: 'embeddings',
      op: 'tokens',
      input: 'patch_embedding',
      prefix: 'embeddings.prefix',
      positions: 'embeddings.positions',
    })
    return 'embeddings'
  }

  /** @returns the edge that the layer writes */
  private async layer(layer: string, input: string): Promise<string> {
    const { hidden, heads, intermediate } = this.shape
    const attention = `${layer}.attention`
    const [q, k, v] = ['query', 'key', 'value'].map((part) => `${attention}.${part}`)
    await this.norm(`${layer}.norm1`, input)
    for (const part of [q, k, v]) await this.linear(part, `${layer}.norm1`, hidden, hidden)
    this.nodes.push({ name: attention, output: attention, op: 'attention', q, k, v, heads, scale: 1 / Math.sqrt(hidden / heads) })
    await this.linear(`${attention}.output`, attention, hidden, hidden)
    const middle = this.add(`${attention}.sum`, input, `${attention}.output`)
    await this.norm(`${layer}.norm2`, middle)
    await this.linear(`${layer}.mlp.fc1`, `${layer}.norm2`, hidden, intermediate)
    this.nodes.push({ name: `${layer}.mlp.gelu`, output: `${layer}.mlp.gelu`, op: 'gelu', input: `${layer}.mlp.fc1` })
    await this.linear(`${layer}.mlp.fc2`, `${layer}.mlp.gelu`, intermediate, hidden)
    return this.add(`${layer}.sum`, middle, `${layer}.mlp.fc2`)
  }

  private add(name: string, left: string, right: string): string {
    this.nodes.push({ name, output: name, op: 'add', left, right })
    return name
  }

  /** @param source our name of the tensors */
  private async norm(name: string, input: string, source = name): Promise<void> {
    const [gamma, beta] = [`${name}.weight`, `${name}.bias`]
    const { hidden, eps } = this.shape
    this.constants.set(gamma, await this.need(`${source}.weight`, [hidden]))
    this.constants.set(beta, await this.need(`${source}.bias`, [hidden]))
    this.nodes.push({ name, output: name, op: 'layernorm', input, gamma, beta, eps })
  }

  /** @param shape of the weight as it is stored, when it is not a matrix */
  private async linear(name: string, input: string, inputs: number, outputs: number, factor = 1, shape = [outputs, inputs]) {
    const scaled = (data: Float32Array) => (factor === 1 ? data : data.map((value) => value * factor))
    const weight = await this.need(`${name}.weight`, shape)
    this.constants.set(`${name}.weight`, { shape: [outputs, inputs], data: scaled(weight.data) })
    const bias = await this.tensors(`${name}.bias`, [outputs])
    if (bias) this.constants.set(`${name}.bias`, { shape: [outputs], data: scaled(bias.data) })
    this.nodes.push({ name, output: name, op: 'linear', input, weight: `${name}.weight`, bias: bias && `${name}.bias` })
  }

  private async need(name: string, shape: number[]): Promise<Tensor> {
    const tensor = await this.tensors(name, shape)
    if (!tensor) throw new Error(`the tensor for ${name} is missing`)
    return tensor
  }
}
