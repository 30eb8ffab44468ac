import type { Checkpoint } from '../checkpoint/checkpoint.js'
import type { TensorSource } from '../checkpoint/safetensors.js'
import type { Graph } from '../graph/graph.js'
import { type JsonObject, show } from '../values.js'
import { epsilon, pairOf, positive, positives } from './config.js'
import { buildSwin, type SwinShape } from './swin.js'
import { checkLayersTaken, shapeOfTensor, takeTensor } from './tensors.js'

/**
 * Swin as transformers stores it, under the names up to version 4 and those from version 5 on.
 */

/** Our names of a block's parts in each version. */
const BLOCK_PARTS: Record<'old' | 'new', Record<string, string>> = {
  old: {
    norm1: 'layernorm_before',
    'attention.query': 'attention.self.query',
    'attention.key': 'attention.self.key',
    'attention.value': 'attention.self.value',
    'attention.position_bias': 'attention.self.relative_position_bias_table',
    'attention.output': 'attention.output.dense',
    norm2: 'layernorm_after',
    'mlp.fc1': 'intermediate.dense',
    'mlp.fc2': 'output.dense',
  },
  new: {
    norm1: 'layernorm_before',
    'attention.query': 'attention.q_proj',
    'attention.key': 'attention.k_proj',
    'attention.value': 'attention.v_proj',
    'attention.position_bias': 'attention.relative_position_bias.relative_position_bias_table',
    'attention.output': 'attention.o_proj',
    norm2: 'layernorm_after',
    'mlp.fc1': 'mlp.fc1',
    'mlp.fc2': 'mlp.fc2',
  },
}

/** Tensors of a block or of merging in either version; some files also hold the table of indices, which follows from the window. */
const LAYER = /^(swin\.)?encoder\.layers\.\d+\.(?!.*relative_position_index$)/

const CLASS = 'SwinForImageClassification'

/** @throws Error that names the option or tensor which does not fit */
export async function buildTransformersSwin({ config, tensors }: Pick<Checkpoint, 'config' | 'tensors'>): Promise<Graph> {
  checkSupported(config)
  const [imageHeight, imageWidth] = pairOf(config, 'image_size', 224)
  const [patchHeight, patchWidth] = pairOf(config, 'patch_size', 4)
  const window = positive(config, 'window_size', 7)
  const shape: SwinShape = {
    channels: positive(config, 'num_channels', 3),
    imageHeight,
    imageWidth,
    patchHeight,
    patchWidth,
    stages: stagesOf(config),
    window: [window, window],
    clip: 'both',
    eps: epsilon(config, 1e-5),
    classes: shapeOfTensor(tensors, 'classifier.weight', 2)[0],
  }
  const names = translator(tensors)
  const taken = new Set<string>()
  const graph = await buildSwin(shape, async (name, expected) => {
    const found = names(name)
    taken.add(found)
    const optional = (/attention\.(query|key|value)\.bias$/.test(name) && config.qkv_bias === false) || name.endsWith('reduction.bias')
    if (optional && !tensors.info(found)) return null
    return takeTensor(tensors, found, expected)
  })
  checkLayersTaken(tensors, taken, LAYER)
  return graph
}

function checkSupported(config: JsonObject): void {
  const { hidden_act: activation = 'gelu', architectures } = config
  if (activation !== 'gelu') throw new Error(`config.json: hidden_act ${show(activation)} is not supported, only "gelu"`)
  if (config.use_absolute_embeddings) throw new Error('config.json: use_absolute_embeddings is not supported')
  if (Array.isArray(architectures) && !architectures.includes(CLASS)) {
    throw new Error(`config.json: ${show(architectures)} is not supported, only ${CLASS}`)
  }
}

function stagesOf(config: JsonObject): SwinShape['stages'] {
  const embed = positive(config, 'embed_dim', 96)
  const depths = positives(config, 'depths', [2, 2, 6, 2])
  const heads = positives(config, 'num_heads', [3, 6, 12, 24])
  const { mlp_ratio: ratio = 4 } = config
  if (typeof ratio !== 'number' || !(ratio > 0)) throw new Error(`config.json: mlp_ratio is ${show(ratio)}, expected a number`)
  if (heads.length !== depths.length) throw new Error(`config.json: num_heads has ${heads.length} entries, depths has ${depths.length}`)
  return depths.map((depth, s) => {
    const hidden = embed * 2 ** s
    return { depth, hidden, heads: heads[s], intermediate: Math.floor(hidden * ratio) }
  })
}

function translator(tensors: TensorSource): (name: string) => string {
  const prefix = tensors.info('swin.embeddings.norm.weight') ? 'swin.' : ''
  const first = `${prefix}encoder.layers.0.blocks.0.${BLOCK_PARTS.old['attention.position_bias']}`
  const parts = BLOCK_PARTS[tensors.info(first) ? 'old' : 'new']
  const fixed: Record<string, string> = {
    patch_embedding: `${prefix}embeddings.patch_embeddings.projection`,
    embeddings: `${prefix}embeddings.norm`,
    norm: `${prefix}layernorm`,
    head: 'classifier',
  }
  return (name) => {
    const [, stem, suffix = ''] = /^(.*?)(\.weight|\.bias)?$/.exec(name) as RegExpExecArray
    const [, stage, part] = /^stages\.(\d+)\.(.*)$/.exec(stem) ?? []
    if (stage === undefined) return fixed[stem] + suffix
    // Here rows are merged at the end of the stage before.
    const merged = /^merge\.(.*)$/.exec(part)?.[1]
    if (merged) return `${prefix}encoder.layers.${Number(stage) - 1}.downsample.${merged}${suffix}`
    const [, block, inner] = /^blocks\.(\d+)\.(.*)$/.exec(part) as RegExpExecArray
    return `${prefix}encoder.layers.${stage}.blocks.${block}.${parts[inner]}${suffix}`
  }
}
