import type { Checkpoint } from '../checkpoint/checkpoint.js'
import type { TensorSource } from '../checkpoint/safetensors.js'
import type { Graph } from '../graph/graph.js'
import { type JsonObject, show } from '../values.js'
import { epsilon, pairOf, positive } from './config.js'
import { checkLayersTaken, checkPositions, shapeOfTensor, takeTensor } from './tensors.js'
import { buildVit, type VitShape } from './vit.js'

/**
 * ViT and DeiT as transformers stores them, under the names up to version 4 and those from version 5 on.
 */

/** Our names of a layer's parts in each version. */
const LAYER_PARTS = {
  'encoder.layer': {
    norm1: 'layernorm_before',
    'attention.query': 'attention.attention.query',
    'attention.key': 'attention.attention.key',
    'attention.value': 'attention.attention.value',
    'attention.output': 'attention.output.dense',
    norm2: 'layernorm_after',
    'mlp.fc1': 'intermediate.dense',
    'mlp.fc2': 'output.dense',
  },
  layers: {
    norm1: 'layernorm_before',
    'attention.query': 'attention.q_proj',
    'attention.key': 'attention.k_proj',
    'attention.value': 'attention.v_proj',
    'attention.output': 'attention.o_proj',
    norm2: 'layernorm_after',
    'mlp.fc1': 'mlp.fc1',
    'mlp.fc2': 'mlp.fc2',
  },
} as const

/** Tensors of a layer in either version. */
const LAYER = /^(vit\.|deit\.)?(encoder\.layer|layers)\.\d+\./

const CLASSES = ['ViTForImageClassification', 'DeiTForImageClassification', 'DeiTForImageClassificationWithTeacher']

/** @throws Error that names the option or tensor which does not fit */
export async function buildTransformersVit(checkpoint: Pick<Checkpoint, 'config' | 'tensors'>): Promise<Graph> {
  const { config, tensors } = checkpoint
  const architecture = config.model_type === 'deit' ? 'deit' : 'vit'
  checkSupported(config)
  const prefix = findPrefix(tensors, architecture)
  const distillationToken = architecture === 'deit'
  const twoHeads = tensors.info('cls_classifier.weight') !== undefined
  const head = twoHeads ? 'cls_classifier' : 'classifier'
  const image = pairOf(config, 'image_size', 224)
  const patch = pairOf(config, 'patch_size', 16)
  checkPositions(tensors, `${prefix}embeddings.position_embeddings`, distillationToken ? 2 : 1, image, patch)
  const shape: VitShape = {
    architecture,
    channels: positive(config, 'num_channels', 3),
    imageHeight: image[0],
    imageWidth: image[1],
    patchHeight: patch[0],
    patchWidth: patch[1],
    hidden: positive(config, 'hidden_size', 768),
    heads: positive(config, 'num_attention_heads', 12),
    intermediate: positive(config, 'intermediate_size', 3072),
    layers: positive(config, 'num_hidden_layers', 12),
    eps: epsilon(config, 1e-12),
    distillationToken,
    distillationHead: twoHeads,
    classes: shapeOfTensor(tensors, `${head}.weight`, 2)[0],
  }
  const names = translator(tensors, prefix, head)
  const taken = new Set<string>()
  const graph = await buildVit(shape, async (name, expected) => {
    const found = names(name)
    taken.add(found)
    if (/attention\.(query|key|value)\.bias$/.test(name) && config.qkv_bias === false && !tensors.info(found)) return null
    return takeTensor(tensors, found, expected)
  })
  checkLayersTaken(tensors, taken, LAYER)
  return graph
}

function checkSupported(config: JsonObject): void {
  const { hidden_act: activation = 'gelu', architectures } = config
  if (activation !== 'gelu') throw new Error(`config.json: hidden_act ${show(activation)} is not supported, only "gelu"`)
  if (Array.isArray(architectures) && !architectures.some((name) => CLASSES.includes(name))) {
    throw new Error(`config.json: ${show(architectures)} is not supported, only ${CLASSES.join(', ')}`)
  }
}

/** 'vit.' or 'deit.', or nothing when the base model was saved. */
function findPrefix(tensors: TensorSource, architecture: string): string {
  const token = 'embeddings.cls_token'
  for (const prefix of [`${architecture}.`, '', 'vit.', 'deit.']) if (tensors.info(prefix + token)) return prefix
  throw new Error(`${tensors.what}: tensor ${architecture}.${token} is missing`)
}

function translator(tensors: TensorSource, prefix: string, head: string): (name: string) => string {
  const layers = tensors.info(`${prefix}layers.0.layernorm_before.weight`) ? 'layers' : 'encoder.layer'
  const parts: Record<string, string> = LAYER_PARTS[layers]
  const fixed: Record<string, string> = {
    class_token: `${prefix}embeddings.cls_token`,
    distillation_token: `${prefix}embeddings.distillation_token`,
    positions: `${prefix}embeddings.position_embeddings`,
    patch_embedding: `${prefix}embeddings.patch_embeddings.projection`,
    norm: `${prefix}layernorm`,
    head,
    distillation_head: 'distillation_classifier',
  }
  return (name) => {
    const [, stem, suffix = ''] = /^(.*?)(\.weight|\.bias)?$/.exec(name) as RegExpExecArray
    const [, layer, part] = /^layers\.(\d+)\.(.*)$/.exec(stem) ?? []
    return (layer === undefined ? fixed[stem] : `${prefix}${layers}.${layer}.${parts[part]}`) + suffix
  }
}
