import type { Checkpoint } from '../checkpoint/checkpoint.js'
import type { TensorSource } from '../checkpoint/safetensors.js'
import type { Graph, Tensor } from '../graph/graph.js'
import { isObject, type JsonObject, show } from '../values.js'
import { pairOf, timmImageSize } from './config.js'
import { buildSwin, type SwinShape } from './swin.js'
import { countLayers, shapeOfTensor, takeTensor, takeThird } from './tensors.js'

/**
 * Swin as timm stores it. Sizes come from the tensors; the window and the size of images come from `model_args` or the name of the
 * architecture.
 */

/** swin_tiny_patch4_window7_224, with or without a training tag behind a dot. */
export const TIMM_SWIN = /^swin_(tiny|small|base|large)_patch(\d+)_window(\d+)_(\d+)(_in22k|_22k|_22kft1k)?(\..*)?$/

/** timm's LayerNorm in Swin. */
const EPS = 1e-5

/** Arguments that the tensors already tell or that are read here, and those that do nothing at inference. */
const HARMLESS_ARGS = [
  'img_size',
  'patch_size',
  'embed_dim',
  'depths',
  'num_heads',
  'window_size',
  'mlp_ratio',
  'num_classes',
  'in_chans',
  'qkv_bias',
]
const OFF_ARGS = ['ape', 'head_dim', 'always_partition', 'dynamic_mask']

/** Tensors of options that change the computation. */
const FOREIGN: [RegExp, string][] = [
  [/^absolute_pos_embed$/, 'a table of absolute positions'],
  [/^layers\.0\.downsample\./, 'the order of layers before timm 0.9'],
  [/\.attn\.(logit_scale|cpb_mlp)/, 'Swin V2'],
]

/** @throws Error that names the option or tensor which does not fit */
export async function buildTimmSwin({ config, tensors }: Pick<Checkpoint, 'config' | 'tensors'>): Promise<Graph> {
  const match = TIMM_SWIN.exec(String(config.architecture))
  if (!match) throw new Error(`config.json: the architecture ${config.architecture} is not one of those that are supported`)
  const [, , , window, imageSize] = match
  const args = isObject(config.model_args) ? config.model_args : {}
  checkSupported(config, args, tensors)
  const [, channels, patchHeight, patchWidth] = shapeOfTensor(tensors, 'patch_embed.proj.weight', 4)
  const [imageHeight, imageWidth] = timmImageSize(config, args, Number(imageSize))
  const shape: SwinShape = {
    channels,
    imageHeight,
    imageWidth,
    patchHeight,
    patchWidth,
    stages: stagesOf(tensors),
    window: pairOf(args, 'window_size', Number(window)),
    clip: 'each',
    eps: EPS,
    classes: shapeOfTensor(tensors, 'head.fc.weight', 2)[0],
  }
  return buildSwin(shape, translator(tensors))
}

function checkSupported(config: JsonObject, args: JsonObject, tensors: TensorSource): void {
  const pool = args.global_pool ?? config.global_pool ?? 'avg'
  if (pool !== 'avg') throw new Error(`config.json: global_pool ${show(pool)} is not supported, only "avg"`)
  for (const [key, value] of Object.entries(args)) {
    const off = value === null || value === false
    if (HARMLESS_ARGS.includes(key) || key === 'global_pool' || /drop|strict_img_size/.test(key) || (OFF_ARGS.includes(key) && off))
      continue
    throw new Error(`config.json: model_args.${key} = ${show(value)} is not supported`)
  }
  for (const name of tensors.names()) {
    const foreign = FOREIGN.find(([pattern]) => pattern.test(name))
    if (foreign) throw new Error(`${tensors.what}: ${foreign[1]} (tensor ${name}) is not supported`)
  }
}

function stagesOf(tensors: TensorSource): SwinShape['stages'] {
  const stages = countLayers(tensors, /^layers\.(\d{1,3})\./)
  return Array.from({ length: stages }, (_, s) => {
    const block = `layers.${s}.blocks.0`
    const [intermediate, hidden] = shapeOfTensor(tensors, `${block}.mlp.fc1.weight`, 2)
    const [, heads] = shapeOfTensor(tensors, `${block}.attn.relative_position_bias_table`, 2)
    return { depth: countLayers(tensors, new RegExp(`^layers\\.${s}\\.blocks\\.(\\d{1,3})\\.`)), hidden, heads, intermediate }
  })
}

const PARTS: Record<string, string> = {
  patch_embedding: 'patch_embed.proj',
  embeddings: 'patch_embed.norm',
  head: 'head.fc',
  'attention.position_bias': 'attn.relative_position_bias_table',
  'attention.output': 'attn.proj',
}

/** Our names to timm's; queries, keys and values are thirds of one tensor. */
function translator(tensors: TensorSource) {
  return async (name: string, shape: number[]): Promise<Tensor | null> => {
    const [, place = '', stem, suffix = ''] = /^(stages\.\d+\.(?:blocks\.\d+\.)?)?(.*?)(\.weight|\.bias)?$/.exec(name) as RegExpExecArray
    const prefix = place.replace('stages', 'layers')
    const third = ['attention.query', 'attention.key', 'attention.value'].indexOf(stem)
    const found = third < 0 ? prefix + (PARTS[stem] ?? stem.replace('merge', 'downsample')) + suffix : `${prefix}attn.qkv${suffix}`
    const optional = suffix === '.bias' && (third >= 0 || stem === 'merge.reduction')
    if (optional && !tensors.info(found)) return null
    return third < 0 ? takeTensor(tensors, found, shape) : takeThird(tensors, found, shape, third)
  }
}
