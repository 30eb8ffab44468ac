import type { TensorSource } from '../../lib/checkpoint/safetensors.js'
import { costOf } from '../../lib/graph/cost.js'
import type { Graph } from '../../lib/graph/graph.js'
import { buildGraph } from '../../lib/models/index.js'
import { RANDOM_ARCHITECTURES, randomGraph } from '../../lib/models/random.js'
import { goldenTensor, readGolden, relativeError, sourceOf } from '../support/golden.js'
import { normals } from '../support/random.js'
import { type Matrix, multiply, runReference } from '../support/reference.js'
import { oldName } from './names.js'

type Shapes = Record<string, number[]>
type Config = Record<string, unknown>

/** Small checkpoints: the tensors of transformers 5 and of timm. */
const CONFIG: Config = {
  model_type: 'vit',
  hidden_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  intermediate_size: 20,
  image_size: 8,
  patch_size: 4,
}

function transformersShapes(base = 'vit.', deit = false): Shapes {
  const shapes: Shapes = {
    'embeddings.cls_token': [1, 1, 12],
    'embeddings.position_embeddings': [1, deit ? 6 : 5, 12],
    ...(deit && { 'embeddings.distillation_token': [1, 1, 12] }),
    'embeddings.patch_embeddings.projection.weight': [12, 3, 4, 4],
    'embeddings.patch_embeddings.projection.bias': [12],
    'layernorm.weight': [12],
    'layernorm.bias': [12],
  }
  for (const layer of [0, 1]) {
    for (const part of ['q', 'k', 'v', 'o']) {
      shapes[`layers.${layer}.attention.${part}_proj.weight`] = [12, 12]
      shapes[`layers.${layer}.attention.${part}_proj.bias`] = [12]
    }
    for (const part of ['layernorm_before', 'layernorm_after']) {
      shapes[`layers.${layer}.${part}.weight`] = [12]
      shapes[`layers.${layer}.${part}.bias`] = [12]
    }
    shapes[`layers.${layer}.mlp.fc1.weight`] = [20, 12]
    shapes[`layers.${layer}.mlp.fc1.bias`] = [20]
    shapes[`layers.${layer}.mlp.fc2.weight`] = [12, 20]
    shapes[`layers.${layer}.mlp.fc2.bias`] = [12]
  }
  const prefixed = Object.entries(shapes).map(([name, shape]) => [base + name, shape])
  return { ...Object.fromEntries(prefixed), 'classifier.weight': [5, 12], 'classifier.bias': [5] }
}

/** Weights follow from `original(name)`, so that the same model can have other names. */
const sourceFor = (shapes: Shapes, original: (name: string) => string = (name) => name): TensorSource =>
  sourceOf(shapes, async (name) => goldenTensor(original(name), shapes[name]))

const image = normals(2, 3 * 8 * 8)
const logits = (graph: Graph) => runReference(graph, image).get(graph.output)?.data as Float64Array

describe('transformers', () => {
  it('is the same model under the names of every version, with and without the prefix', async () => {
    const shapes = transformersShapes()
    const expected = logits(await buildGraph({ config: CONFIG, tensors: sourceFor(shapes) }))
    const renamed = Object.fromEntries(Object.keys(shapes).map((name) => [oldName(name), name]))
    expect(Object.keys(renamed)).toContain('vit.encoder.layer.1.attention.attention.query.weight')
    const old = sourceFor(
      Object.fromEntries(Object.entries(renamed).map(([name, original]) => [name, shapes[original]])),
      (name) => renamed[name],
    )
    expect(logits(await buildGraph({ config: CONFIG, tensors: old }))).toEqual(expected)
    const bare = transformersShapes('')
    const original = (name: string) => (name.startsWith('classifier') ? name : `vit.${name}`)
    expect(logits(await buildGraph({ config: CONFIG, tensors: sourceFor(bare, original) }))).toEqual(expected)
  })

  it('reads DeiT with one head: the class token decides, the distillation token takes part', async () => {
    const shapes = transformersShapes('deit.', true)
    const config = { ...CONFIG, model_type: 'deit', architectures: ['DeiTForImageClassification'] }
    const graph = await buildGraph({ config, tensors: sourceFor(shapes) })
    expect(graph.edges.get('embeddings')).toEqual({ rows: 6, width: 12 })
    expect(graph.output).toBe('head')
    expect(graph.architecture).toBe('deit')
  })

  it('takes the mean of two heads, each on its token', async () => {
    const { 'classifier.weight': weight, 'classifier.bias': bias, ...shapes } = transformersShapes('deit.', true)
    for (const head of ['cls_classifier', 'distillation_classifier']) {
      shapes[`${head}.weight`] = weight
      shapes[`${head}.bias`] = bias
    }
    const graph = await buildGraph({ config: { ...CONFIG, model_type: 'deit' }, tensors: sourceFor(shapes) })
    const edges = runReference(graph, image)
    const head = (name: string, edge: string) =>
      multiply(edges.get(edge) as Matrix, goldenTensor(`${name}.weight`, weight).data, goldenTensor(`${name}.bias`, bias).data).data
    const [first, second] = [head('cls_classifier', 'norm'), head('distillation_classifier', 'distillation_norm')]
    expect(
      relativeError(
        logits(graph),
        first.map((x, i) => (x + second[i]) / 2),
      ),
    ).toBeLessThan(1e-6)
    expect(edges.get('norm')).not.toEqual(edges.get('distillation_norm'))
  })

  it('has no bias in queries, keys and values when the configuration says so', async () => {
    const shapes = Object.fromEntries(Object.entries(transformersShapes()).filter(([name]) => !/[qkv]_proj\.bias$/.test(name)))
    const graph = await buildGraph({ config: { ...CONFIG, qkv_bias: false }, tensors: sourceFor(shapes) })
    expect(graph.nodes.find(({ name }) => name === 'layers.1.attention.key')).toMatchObject({ bias: null })
    await expect(buildGraph({ config: CONFIG, tensors: sourceFor(shapes) })).rejects.toThrow(
      'tensor vit.layers.0.attention.q_proj.bias is missing, expected with the shape [12]',
    )
  })

  it('reads images that are not square', async () => {
    const shapes = { ...transformersShapes(), 'vit.embeddings.position_embeddings': [1, 7, 12] }
    const graph = await buildGraph({ config: { ...CONFIG, image_size: [8, 12] }, tensors: sourceFor(shapes) })
    expect(graph.edges.get('pixels')).toEqual({ rows: 24, width: 12 })
  })

  it.each<[string, Config, Shapes, string]>([
    ['another activation', { hidden_act: 'quick_gelu' }, {}, 'hidden_act "quick_gelu" is not supported, only "gelu"'],
    ['a model without a head', { architectures: ['ViTModel'] }, {}, '["ViTModel"] is not supported, only ViTForImageClassification'],
    [
      'positions of another image size',
      { image_size: 16 },
      {},
      'has 5 positions, but images of 16 x 16 in patches of 4 x 4 with 1 more token need 17',
    ],
    ['heads that do not divide', { num_attention_heads: 5 }, {}, 'a hidden size of 12 does not divide into 5 heads'],
    ['more layers than there are', { num_hidden_layers: 3 }, {}, 'tensor vit.layers.2.layernorm_before.weight is missing'],
    ['fewer layers than there are', { num_hidden_layers: 1 }, {}, 'tensor vit.layers.1.attention.q_proj.weight has no place in the model'],
    ['a part of a layer that nothing reads', {}, { 'vit.layers.0.layer_scale1.lambda1': [12] }, 'layer_scale1.lambda1 has no place in'],
    ['an eps in words', { layer_norm_eps: '1e-5' }, {}, 'layer_norm_eps is "1e-5", expected a number from 0 to 1'],
    ['an eps below 0', { layer_norm_eps: -1 }, {}, 'layer_norm_eps is -1, expected a number from 0 to 1'],
    ['a size in words', { hidden_size: '12' }, {}, 'hidden_size is "12", expected a positive integer'],
    ['no patch size', { patch_size: 0 }, {}, 'patch_size is 0, expected a size in pixels'],
    [
      'a wrong shape',
      {},
      { 'vit.layers.1.mlp.fc1.weight': [20, 13] },
      'tensor vit.layers.1.mlp.fc1.weight has the shape [20, 13], expected [20, 12]',
    ],
    ['a transposed weight', {}, { 'vit.layers.1.mlp.fc2.weight': [20, 12] }, 'has the shape [20, 12], expected [12, 20]'],
    ['channels that differ', { num_channels: 1 }, {}, 'projection.weight has the shape [12, 3, 4, 4], expected [12, 1, 4, 4]'],
  ])('refuses %s', async (_, config, shapes, message) => {
    await expect(
      buildGraph({ config: { ...CONFIG, ...config }, tensors: sourceFor({ ...transformersShapes(), ...shapes }) }),
    ).rejects.toThrow(message)
  })

  it.each(['classifier.weight', 'vit.embeddings.cls_token', 'vit.layers.1.attention.o_proj.weight'])(
    'names %s when it is missing',
    async (name) => {
      const { [name]: _, ...shapes } = transformersShapes()
      await expect(buildGraph({ config: CONFIG, tensors: sourceFor(shapes) })).rejects.toThrow(`tensor ${name} is missing`)
    },
  )
})

describe('timm', () => {
  const CONFIG = { architecture: 'vit_tiny_patch4_8', global_pool: 'token' }
  function shapesOf(distilled = false): Shapes {
    const shapes: Shapes = {
      cls_token: [1, 1, 12],
      pos_embed: [1, distilled ? 6 : 5, 12],
      ...(distilled && { dist_token: [1, 1, 12], 'head_dist.weight': [5, 12], 'head_dist.bias': [5] }),
      'patch_embed.proj.weight': [12, 3, 4, 4],
      'patch_embed.proj.bias': [12],
      'norm.weight': [12],
      'norm.bias': [12],
      'head.weight': [5, 12],
      'head.bias': [5],
    }
    for (const block of ['blocks.0.', 'blocks.1.']) {
      const linear = { 'attn.qkv': [36, 12], 'attn.proj': [12, 12], 'mlp.fc1': [20, 12], 'mlp.fc2': [12, 20] }
      for (const [part, shape] of Object.entries(linear))
        Object.assign(shapes, { [`${block}${part}.weight`]: shape, [`${block}${part}.bias`]: [shape[0]] })
      for (const part of ['norm1', 'norm2']) Object.assign(shapes, { [`${block}${part}.weight`]: [12], [`${block}${part}.bias`]: [12] })
    }
    return shapes
  }
  const build = (config: Config = {}, shapes: Shapes = {}, distilled = false) =>
    buildGraph({ config: { ...CONFIG, ...config }, tensors: sourceFor({ ...shapesOf(distilled), ...shapes }) })

  it('takes sizes from tensors and heads from the name', async () => {
    const graph = await build()
    expect(graph.nodes.find(({ name }) => name === 'layers.1.attention')).toMatchObject({ heads: 3, scale: 0.5 })
    expect(graph.nodes.find(({ name }) => name === 'norm')).toMatchObject({ eps: 1e-6 })
    const tagged = await build({
      architecture: 'vit_tiny_patch4_8.some_tag',
      model_args: { num_heads: 2, drop_path_rate: 0.1, class_token: true },
    })
    expect(tagged.nodes.find(({ name }) => name === 'layers.1.attention')).toMatchObject({ heads: 2 })
  })

  it('splits queries, keys and values', async () => {
    const { constants } = await build()
    const whole = goldenTensor('blocks.1.attn.qkv.weight', [36, 12]).data
    for (const [i, part] of ['query', 'key', 'value'].entries()) {
      expect(constants.get(`layers.1.attention.${part}.weight`)?.data).toEqual(whole.slice(144 * i, 144 * (i + 1)))
    }
  })

  it('normalises the class token by fc_norm when that stands for norm', async () => {
    const shapes = shapesOf()
    const { 'norm.weight': _w, 'norm.bias': _b, ...rest } = shapes
    const tensors = sourceFor({ ...rest, 'fc_norm.weight': [12], 'fc_norm.bias': [12] }, (name) => name.replace('fc_norm', 'norm'))
    expect(logits(await buildGraph({ config: CONFIG, tensors }))).toEqual(logits(await build()))
  })

  it('reads distilled models', async () => {
    const graph = await build({ architecture: 'deit_tiny_distilled_patch4_8' }, {}, true)
    expect(graph.output).toBe('logits')
    await expect(build({ architecture: 'deit_tiny_distilled_patch4_8' })).rejects.toThrow('needs the tensor dist_token')
    await expect(build({}, {}, true)).rejects.toThrow('has no use for the tensor dist_token')
  })

  it('knows the size of images from the arguments, the training, or the name', async () => {
    const larger = { pos_embed: [1, 10, 12] }
    for (const config of [
      { architecture: 'vit_tiny_patch4_12' },
      { pretrained_cfg: { input_size: [3, 12, 12] } },
      { model_args: { img_size: 12 } },
    ]) {
      expect((await build(config, larger)).edges.get('pixels')).toEqual({ rows: 36, width: 12 })
    }
    await expect(build({}, larger)).rejects.toThrow(
      'pos_embed has 10 positions, but images of 8 x 8 in patches of 4 x 4 with 1 more token need 5',
    )
  })

  it.each<[string, Config, Shapes, string]>([
    ['average pooling', { global_pool: 'avg' }, {}, 'global_pool "avg" is not supported'],
    ['pooling in the arguments', { model_args: { global_pool: 'map' } }, {}, 'global_pool "map" is not supported'],
    [
      'arguments that change the model',
      { model_args: { act_layer: 'quick_gelu' } },
      {},
      'model_args.act_layer = "quick_gelu" is not supported',
    ],
    ['layer scale', {}, { 'blocks.0.ls1.gamma': [12] }, 'layer scale (tensor blocks.0.ls1.gamma) is not supported'],
    ['registers', {}, { reg_token: [1, 4, 12] }, 'register tokens (tensor reg_token) is not supported'],
    ['a norm before the blocks', {}, { 'norm_pre.weight': [12] }, 'a norm before the first block'],
    ['normalised queries', {}, { 'blocks.1.attn.q_norm.weight': [4] }, 'normalised queries and keys'],
    ['both norms', {}, { 'fc_norm.weight': [12] }, 'norm and fc_norm together'],
    ['a block that is missing in between', {}, { 'blocks.3.norm1.weight': [12] }, 'tensor blocks.2.norm1.weight is missing'],
    [
      'a wrong shape',
      {},
      { 'blocks.1.attn.qkv.weight': [24, 12] },
      'tensor blocks.1.attn.qkv.weight has the shape [24, 12], expected [36, 12]',
    ],
  ])('refuses %s', async (_, config, shapes, message) => {
    await expect(build(config, shapes)).rejects.toThrow(message)
  })
})

it('lists the known architectures for an unknown one', async () => {
  const tensors = sourceFor({})
  const known = 'known are vit (transformers); deit (transformers); vit_{tiny,small,base,large}_patchN_N'
  await expect(buildGraph({ config: { model_type: 'resnet' }, tensors })).rejects.toThrow(`"resnet" is not supported; ${known}`)
  await expect(buildGraph({ config: { architecture: 'vit_base_patch16_clip_224' }, tensors })).rejects.toThrow(
    '"vit_base_patch16_clip_224" is not supported',
  )
  await expect(buildGraph({ config: {}, tensors })).rejects.toThrow(`names neither model_type nor architecture; ${known}`)
})

describe('random models', () => {
  it('have the sizes of the real ones', async () => {
    expect(RANDOM_ARCHITECTURES).toEqual(['vit-tiny', 'vit-small', 'vit-base', 'deit-tiny', 'deit-small', 'deit-base', 'swin-tiny'])
    const graph = await randomGraph('deit-tiny', 1)
    const { config, tensors } = readGolden('hf-deit-tiny')
    const real = await buildGraph({
      config,
      tensors: sourceOf(tensors, async (name) => ({
        shape: tensors[name],
        data: new Float32Array(tensors[name].reduce((a, b) => a * b, 1)),
      })),
    })
    expect(graph.edges).toEqual(real.edges)
    expect(costOf(graph)).toEqual(costOf(real))
  })

  it('follow from their seed', async () => {
    const [a, b, c] = [await randomGraph('vit-tiny', 1), await randomGraph('vit-tiny', 1), await randomGraph('vit-tiny', 2)]
    const weight = (graph: Graph) => graph.constants.get('layers.3.mlp.fc1.weight')?.data
    expect(weight(a)).toEqual(weight(b))
    expect(weight(a)).not.toEqual(weight(c))
    expect(weight(a)).not.toEqual(a.constants.get('layers.4.mlp.fc1.weight')?.data)
  })

  it('are refused by other names', async () => {
    await expect(randomGraph('swin-huge')).rejects.toThrow('"swin-huge" is not one of vit-tiny, vit-small')
  })
})
