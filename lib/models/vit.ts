import type { Graph } from '../graph/graph.js'
import { GraphBuilder, type Patches, type Tensors } from './builder.js'

/**
 * Vision transformers (ViT, DeiT with and without distillation token) as graphs, whatever their tensors are called.
 */

export interface VitShape extends Patches {
  /** 'vit' or 'deit'. */
  architecture: string
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
 * @param tensors by our names: `class_token` and `distillation_token` [hidden], `positions` [tokens][hidden], `patch_embedding`,
 *   `layers.N.norm1`, `.attention.query`, `.attention.key`, `.attention.value`, `.attention.output`, `.norm2`, `.mlp.fc1`, `.mlp.fc2`,
 *   `norm`, `head` and `distillation_head`, each with `.weight` and `.bias`
 */
export async function buildVit(shape: VitShape, tensors: Tensors): Promise<Graph> {
  const { hidden, heads, layers, eps, classes, distillationHead } = shape
  if (hidden % heads) throw new Error(`a hidden size of ${hidden} does not divide into ${heads} heads`)
  const builder = new GraphBuilder(tensors)
  let rows = await embed(builder, shape)
  for (let layer = 0; layer < layers; layer++) rows = await builder.block(`layers.${layer}`, rows, shape)
  builder.nodes.push({ name: 'class_token', output: 'class_token', op: 'row', input: rows, row: 0 })
  await builder.norm('norm', 'class_token', hidden, eps)
  if (!distillationHead) {
    await builder.linear('head', 'norm', hidden, classes)
  } else {
    // The mean of two heads is the sum of two halved ones.
    builder.nodes.push({ name: 'distillation_token', output: 'distillation_token', op: 'row', input: rows, row: 1 })
    await builder.norm('distillation_norm', 'distillation_token', hidden, eps, 'norm')
    await builder.linear('head', 'norm', hidden, classes, { factor: 0.5 })
    await builder.linear('distillation_head', 'distillation_norm', hidden, classes, { factor: 0.5 })
    builder.add('logits', 'head', 'distillation_head')
  }
  return builder.finish(shape.architecture, shape)
}

/** @returns the edge of tokens */
async function embed(builder: GraphBuilder, shape: VitShape): Promise<string> {
  const { imageHeight, imageWidth, patchHeight, patchWidth, hidden, distillationToken } = shape
  await builder.patchEmbedding(shape, hidden)
  const patches = Math.floor(imageHeight / patchHeight) * Math.floor(imageWidth / patchWidth)
  const names = distillationToken ? ['class_token', 'distillation_token'] : ['class_token']
  const positions = await builder.need('positions', [names.length + patches, hidden])
  const rows = new Float32Array(names.length * hidden)
  for (const [row, name] of names.entries()) {
    const token = await builder.need(name, [hidden])
    for (let i = 0; i < hidden; i++) rows[row * hidden + i] = token.data[i] + positions.data[row * hidden + i]
  }
  const prefix = builder.constant('embeddings.prefix', { shape: [names.length, hidden], data: rows })
  const others = { shape: [patches, hidden], data: positions.data.slice(rows.length) }
  builder.nodes.push({
    ...{ name: 'embeddings', output: 'embeddings', op: 'tokens', input: 'patch_embedding' },
    ...{ prefix, positions: builder.constant('embeddings.positions', others) },
  })
  return 'embeddings'
}
