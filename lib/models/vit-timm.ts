import type { Checkpoint } from '../checkpoint/checkpoint.js'
import type { TensorSource } from '../checkpoint/safetensors.js'
import type { Graph, Tensor } from '../graph/graph.js'
import { isObject, type JsonObject, show } from '../values.js'
import { timmImageSize } from './config.js'
import { checkPositions, countLayers, shapeOfTensor, takeTensor, takeThird } from './tensors.js'
import { buildVit, type VitShape } from './vit.js'

/**
 * ViT and DeiT as timm stores them. Sizes come from the tensors; what they do not tell comes from the name of the architecture and
 * `model_args`.
 */

/** vit_small_patch16_224, deit_tiny_distilled_patch16_224, each with or without a training tag behind a dot. */
export const TIMM_VIT = /^(vit|deit)_(tiny|small|base|large)(_distilled)?_patch(\d+)_(\d+)(_in21k|_miil|_miil_in21k)?(\..*)?$/

const HEADS: Record<string, number> = { tiny: 3, small: 6, base: 12, large: 16 }

/** timm's LayerNorm in vision transformers. */
const EPS = 1e-6

/** Arguments that the tensors or the name already tell, and those that do nothing at inference. */
const HARMLESS_ARGS = ['img_size', 'patch_size', 'embed_dim', 'depth', 'num_heads', 'mlp_ratio', 'num_classes', 'in_chans', 'qkv_bias']
const OFF_ARGS = ['qk_norm', 'init_values', 'reg_tokens', 'pre_norm', 'no_embed_class', 'class_token', 'global_pool', 'fc_norm']

/** Tensors of options that change the computation. */
const FOREIGN: [RegExp, string][] = [
  [/^reg_token$/, 'register tokens'],
  [/^blocks\.\d+\.ls[12]\.gamma$/, 'layer scale'],
  [/^blocks\.\d+\.attn\.[qk]_norm\./, 'normalised queries and keys'],
  [/^norm_pre\./, 'a norm before the first block'],
  [/^attn_pool\./, 'attention pooling'],
  [/^blocks\.\d+\.(attn|mlp)\.norm\./, 'a norm inside attention or MLP'],
]

/** @throws Error that names the option or tensor which does not fit */
export async function buildTimmVit({ config, tensors }: Pick<Checkpoint, 'config' | 'tensors'>): Promise<Graph> {
  const name = String(config.architecture)
  const match = TIMM_VIT.exec(name)
  if (!match) throw new Error(`config.json: the architecture ${name} is not one of those that are supported`)
  const [, architecture, size, distilled, , imageSize] = match
  const args = isObject(config.model_args) ? config.model_args : {}
  checkSupported(config, args, tensors)
  const [hidden, channels, patchHeight, patchWidth] = shapeOfTensor(tensors, 'patch_embed.proj.weight', 4)
  const image = timmImageSize(config, args, Number(imageSize))
  const distillationToken = tensors.info('dist_token') !== undefined
  if (distillationToken !== Boolean(distilled)) {
    throw new Error(`${tensors.what}: ${name} ${distilled ? 'needs' : 'has no use for'} the tensor dist_token`)
  }
  checkPositions(tensors, 'pos_embed', distillationToken ? 2 : 1, image, [patchHeight, patchWidth])
  const shape: VitShape = {
    architecture,
    channels,
    imageHeight: image[0],
    imageWidth: image[1],
    patchHeight,
    patchWidth,
    hidden,
    heads: Number(args.num_heads ?? HEADS[size]),
    intermediate: shapeOfTensor(tensors, 'blocks.0.mlp.fc1.weight', 2)[0],
    layers: countLayers(tensors, /^blocks\.(\d{1,3})\./),
    eps: EPS,
    distillationToken,
    distillationHead: distillationToken,
    classes: shapeOfTensor(tensors, 'head.weight', 2)[0],
  }
  return buildVit(shape, translator(tensors))
}

function checkSupported(config: JsonObject, args: JsonObject, tensors: TensorSource): void {
  const pool = args.global_pool ?? config.global_pool ?? 'token'
  if (pool !== 'token') throw new Error(`config.json: global_pool ${show(pool)} is not supported, only "token"`)
  for (const [key, value] of Object.entries(args)) {
    const off = value === null || value === false || value === 0
    const standard = (key === 'class_token' && value === true) || (key === 'global_pool' && value === 'token')
    const dropout = /drop/.test(key)
    if (HARMLESS_ARGS.includes(key) || dropout || standard || (OFF_ARGS.includes(key) && key !== 'class_token' && off)) continue
    throw new Error(`config.json: model_args.${key} = ${show(value)} is not supported`)
  }
  for (const name of tensors.names()) {
    const foreign = FOREIGN.find(([pattern]) => pattern.test(name))
    if (foreign) throw new Error(`${tensors.what}: ${foreign[1]} (tensor ${name}) is not supported`)
  }
  if (tensors.info('norm.weight') && tensors.info('fc_norm.weight')) {
    throw new Error(`${tensors.what}: norm and fc_norm together are not supported`)
  }
}

const PARTS: Record<string, string> = {
  class_token: 'cls_token',
  distillation_token: 'dist_token',
  positions: 'pos_embed',
  patch_embedding: 'patch_embed.proj',
  'attention.output': 'attn.proj',
  distillation_head: 'head_dist',
}

/** Our names to timm's; queries, keys and values are thirds of one tensor. */
function translator(tensors: TensorSource) {
  const norm = tensors.info('fc_norm.weight') ? 'fc_norm' : 'norm'
  return async (name: string, shape: number[]): Promise<Tensor | null> => {
    const [, layer = '', stem, suffix = ''] = /^(layers\.\d+\.)?(.*?)(\.weight|\.bias)?$/.exec(name) as RegExpExecArray
    const block = layer.replace('layers', 'blocks')
    const third = ['attention.query', 'attention.key', 'attention.value'].indexOf(stem)
    if (third < 0) {
      const part = stem === 'norm' ? norm : (PARTS[stem] ?? stem)
      return takeTensor(tensors, `${block}${part}${suffix}`, shape)
    }
    const whole = `${block}attn.qkv${suffix}`
    if (suffix === '.bias' && !tensors.info(whole)) return null
    return takeThird(tensors, whole, shape, third)
  }
}
