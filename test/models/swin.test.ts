import type { TensorSource } from '../../lib/checkpoint/safetensors.js'
import { costOf } from '../../lib/graph/cost.js'
import type { Graph, Node } from '../../lib/graph/graph.js'
import { buildGraph } from '../../lib/models/index.js'
import { randomGraph } from '../../lib/models/random.js'
import { goldenTensor, readGolden, sourceOf } from '../support/golden.js'
import { normals } from '../support/random.js'
import { runReference } from '../support/reference.js'

type Shapes = Record<string, number[]>
type Config = Record<string, unknown>

/** Two stages on maps of 8 x 8 and 4 x 4, windows of 4 x 4. */
const CONFIG: Config = {
  ...{ model_type: 'swin', image_size: 16, patch_size: 2, embed_dim: 8, depths: [2, 2], num_heads: [2, 4] },
  ...{ window_size: 4, mlp_ratio: 2.5 },
}

/** As transformers 5 calls them. */
function shapesOf(window = 4): Shapes {
  const shapes: Shapes = {
    'classifier.weight': [5, 16],
    'classifier.bias': [5],
    'swin.embeddings.patch_embeddings.projection.weight': [8, 3, 2, 2],
  }
  const vector = (name: string, size: number) => Object.assign(shapes, { [name]: [size] })
  const pair = (name: string, shape: number[]) => Object.assign(shapes, { [`${name}.weight`]: shape, [`${name}.bias`]: [shape[0]] })
  vector('swin.embeddings.patch_embeddings.projection.bias', 8)
  pair('swin.embeddings.norm', [8])
  pair('swin.layernorm', [16])
  pair('swin.encoder.layers.0.downsample.norm', [32])
  shapes['swin.encoder.layers.0.downsample.reduction.weight'] = [16, 32]
  for (const [stage, hidden, heads] of [
    [0, 8, 2],
    [1, 16, 4],
  ]) {
    for (const block of [0, 1]) {
      const name = `swin.encoder.layers.${stage}.blocks.${block}`
      for (const part of ['q', 'k', 'v', 'o']) pair(`${name}.attention.${part}_proj`, [hidden, hidden])
      shapes[`${name}.attention.relative_position_bias.relative_position_bias_table`] = [(2 * window - 1) ** 2, heads]
      pair(`${name}.layernorm_before`, [hidden])
      pair(`${name}.layernorm_after`, [hidden])
      pair(`${name}.mlp.fc1`, [2.5 * hidden, hidden])
      pair(`${name}.mlp.fc2`, [hidden, 2.5 * hidden])
    }
  }
  return shapes
}

const oldName = (name: string): string =>
  name
    .replace(/attention\.([qkv])_proj/, (_, part: 'q' | 'k' | 'v') => `attention.self.${{ q: 'query', k: 'key', v: 'value' }[part]}`)
    .replace('attention.o_proj', 'attention.output.dense')
    .replace('attention.relative_position_bias.', 'attention.self.')
    .replace('mlp.fc1', 'intermediate.dense')
    .replace('mlp.fc2', 'output.dense')

/** Weights follow from `original(name)`, so that the same model can have other names. */
const sourceFor = (shapes: Shapes, original: (name: string) => string = (name) => name): TensorSource =>
  sourceOf(shapes, async (name) => goldenTensor(original(name), shapes[name]))

const image = normals(2, 3 * 16 * 16)
const logits = (graph: Graph) => runReference(graph, image).get(graph.output)?.data as Float64Array
const windowsOf = (graph: Graph) =>
  graph.nodes.flatMap((node) => (node.op === 'attention' && node.windows ? [[node.windows.window, node.windows.shift]] : []))

describe('transformers', () => {
  const build = (config: Config = {}, shapes: Shapes = {}) =>
    buildGraph({ config: { ...CONFIG, ...config }, tensors: sourceFor({ ...shapesOf(), ...shapes }) })

  it('is the same model under the names of every version, with and without the prefix', async () => {
    const shapes = shapesOf()
    const expected = logits(await build())
    const renamed = Object.fromEntries(Object.keys(shapes).map((name) => [oldName(name), name]))
    expect(Object.keys(renamed)).toContain('swin.encoder.layers.1.blocks.1.attention.self.relative_position_bias_table')
    const old = Object.fromEntries(Object.entries(renamed).map(([name, original]) => [name, shapes[original]]))
    expect(logits(await buildGraph({ config: CONFIG, tensors: sourceFor(old, (name) => renamed[name]) }))).toEqual(expected)
    const bare = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name.replace(/^swin\./, ''), shape]))
    const original = (name: string) => (name.startsWith('classifier') ? name : `swin.${name}`)
    expect(logits(await buildGraph({ config: CONFIG, tensors: sourceFor(bare, original) }))).toEqual(expected)
  })

  it('shifts every other window, but none that takes the whole map', async () => {
    const graph = await build()
    expect(windowsOf(graph)).toEqual([
      [
        [4, 4],
        [0, 0],
      ],
      [
        [4, 4],
        [2, 2],
      ],
      [
        [4, 4],
        [0, 0],
      ],
      [
        [4, 4],
        [0, 0],
      ],
    ])
    expect(graph.edges.get('stages.1.merge')).toEqual({ rows: 16, width: 32 })
    const norm = (name: string) => graph.nodes.find((node) => node.name === name)
    const other = await build({ layer_norm_eps: 1e-3 })
    expect(norm('embeddings')).toMatchObject({ eps: 1e-5 })
    for (const name of ['embeddings', 'stages.1.merge.norm'])
      expect(other.nodes.find((node) => node.name === name)).toMatchObject({ eps: 1e-5 })
    for (const name of ['norm', 'stages.1.blocks.0.norm2'])
      expect(other.nodes.find((node) => node.name === name)).toMatchObject({ eps: 1e-3 })
  })

  it('expands the bias of positions by distance', async () => {
    const graph = await build()
    const { data } = goldenTensor('swin.encoder.layers.0.blocks.1.attention.relative_position_bias.relative_position_bias_table', [49, 2])
    const bias = graph.constants.get('stages.0.blocks.1.attention.bias')
    expect(bias?.shape).toEqual([2, 16, 16])
    // Query (2, 3) and key (0, 1) of head 1: two down and two right.
    expect(bias?.data[(1 * 16 + 11) * 16 + 1]).toBe(data[((2 + 3) * 7 + (2 + 3)) * 2 + 1])
    expect(bias?.data[(0 * 16 + 0) * 16 + 15]).toBe(data[0])
  })

  it('clips both sides of the window when the map is narrow', async () => {
    const name = (block: number) => `swin.encoder.layers.1.blocks.${block}.attention.relative_position_bias.relative_position_bias_table`
    const graph = await build({ image_size: [8, 16] }, { [name(0)]: [9, 4], [name(1)]: [9, 4] })
    const [whole, narrow] = [
      [4, 4],
      [2, 2],
    ].map((window) => [window, [0, 0]])
    expect(windowsOf(graph)).toEqual([whole, whole, narrow, narrow])
  })

  it('has no bias in queries, keys and values when the configuration says so', async () => {
    const shapes = Object.fromEntries(Object.entries(shapesOf()).filter(([name]) => !/[qkv]_proj\.bias$/.test(name)))
    const graph = await buildGraph({ config: { ...CONFIG, qkv_bias: false }, tensors: sourceFor(shapes) })
    expect(graph.nodes.find(({ name }) => name === 'stages.1.blocks.0.attention.key')).toMatchObject({ bias: null })
    await expect(buildGraph({ config: CONFIG, tensors: sourceFor(shapes) })).rejects.toThrow('attention.q_proj.bias is missing')
  })

  it.each<[string, Config, Shapes, string]>([
    ['another activation', { hidden_act: 'relu' }, {}, 'hidden_act "relu" is not supported, only "gelu"'],
    ['absolute positions', { use_absolute_embeddings: true }, {}, 'use_absolute_embeddings is not supported'],
    ['a model without a head', { architectures: ['SwinModel'] }, {}, '["SwinModel"] is not supported, only SwinForImageClassification'],
    ['heads for fewer stages', { num_heads: [2] }, {}, 'num_heads has 1 entries, depths has 2'],
    ['depths in words', { depths: '2' }, {}, 'depths is "2", expected a list of positive integers'],
    ['heads that do not divide', { num_heads: [3, 4] }, {}, 'a hidden size of 8 does not divide into 3 heads'],
    ['images that do not divide into patches', { image_size: 15 }, {}, 'images of 15 x 15 do not divide into patches of 2 x 2'],
    [
      'maps that do not divide into windows',
      { image_size: 20 },
      {},
      'stages.0.blocks.0: images of 20 x 20 become a map of 10 x 10 here, which does not divide into windows of 4 x 4; padding is not supported',
    ],
    ['another window', { window_size: 8 }, {}, 'relative_position_bias_table has the shape [49, 2], expected [225, 2]'],
    ['more blocks than there are', { depths: [2, 3] }, {}, 'swin.encoder.layers.1.blocks.2'],
    ['a wrong shape', {}, { 'swin.encoder.layers.0.downsample.norm.weight': [16] }, 'has the shape [16], expected [32]'],
  ])('refuses %s', async (_, config, shapes, message) => {
    await expect(build(config, shapes)).rejects.toThrow(message)
  })
})

describe('timm', () => {
  const TIMM: Config = { architecture: 'swin_tiny_patch2_window4_16' }
  /** timm's names for those of transformers, apart from queries, keys and values. */
  const timmName = (name: string): string =>
    name
      .replace('swin.embeddings.patch_embeddings.projection', 'patch_embed.proj')
      .replace('swin.embeddings.norm', 'patch_embed.norm')
      .replace('swin.layernorm', 'norm')
      .replace('classifier', 'head.fc')
      .replace(/swin\.encoder\.layers\.(\d)\.downsample/, (_, stage) => `layers.${Number(stage) + 1}.downsample`)
      .replace('swin.encoder.', '')
      .replace('attention.relative_position_bias.', 'attn.')
      .replace('attention.o_proj', 'attn.proj')
      .replace('layernorm_before', 'norm1')
      .replace('layernorm_after', 'norm2')

  /** The same model, whose queries, keys and values are one tensor. */
  function timmSource(change: (shapes: Shapes) => void = () => {}): TensorSource {
    const whole = shapesOf()
    const original: Record<string, string> = {}
    const shapes: Shapes = {}
    for (const [name, shape] of Object.entries(whole)) {
      const ours = timmName(name).replace(/attention\.q_proj/, 'attn.qkv')
      if (/[kv]_proj/.test(name)) continue
      original[ours] = name
      shapes[ours] = ours.includes('qkv') ? [3 * shape[0], ...shape.slice(1)] : shape
    }
    change(shapes)
    return sourceOf(shapes, async (name) => {
      if (!name.includes('qkv')) return goldenTensor(original[name] ?? name, shapes[name])
      const parts = ['q', 'k', 'v'].map((part) => original[name].replace('q_proj', `${part}_proj`))
      const data = Float32Array.from(parts.flatMap((part) => [...goldenTensor(part, whole[part]).data]))
      return { shape: shapes[name], data }
    })
  }
  const build = (config: Config = {}, change?: (shapes: Shapes) => void) =>
    buildGraph({ config: { ...TIMM, ...config }, tensors: timmSource(change) })

  it('is the model that transformers has', async () => {
    const expected = logits(await buildGraph({ config: CONFIG, tensors: sourceFor(shapesOf()) }))
    expect(logits(await build())).toEqual(expected)
    expect(
      logits(await build({ architecture: 'swin_base_patch2_window8_16.tag', model_args: { window_size: 4, drop_path_rate: 0.1 } })),
    ).toEqual(expected)
  })

  it('clips each side of the window by itself', async () => {
    const table = (shapes: Shapes) => {
      for (const block of [0, 1]) shapes[`layers.1.blocks.${block}.attn.relative_position_bias_table`] = [21, 4]
    }
    expect(windowsOf(await build({ model_args: { img_size: [8, 16] } }, table))).toEqual([
      [
        [4, 4],
        [0, 0],
      ],
      [
        [4, 4],
        [0, 2],
      ],
      [
        [2, 4],
        [0, 0],
      ],
      [
        [2, 4],
        [0, 0],
      ],
    ])
  })

  it.each<[string, Config, ((shapes: Shapes) => void) | undefined, string]>([
    ['another pooling', { global_pool: 'max' }, undefined, 'global_pool "max" is not supported'],
    ['arguments that change the model', { model_args: { ape: true } }, undefined, 'model_args.ape = true is not supported'],
    ['absolute positions', {}, (shapes) => (shapes.absolute_pos_embed = [1, 64, 8]), 'a table of absolute positions'],
    ['the layout of old versions', {}, (shapes) => (shapes['layers.0.downsample.norm.weight'] = [32]), 'before timm 0.9'],
    [
      'a block that is missing',
      {},
      (shapes) => delete shapes['layers.1.blocks.0.norm1.weight'],
      'layers.1.blocks.0.norm1.weight is missing',
    ],
    ['Swin V2', { architecture: 'swinv2_tiny_window8_256' }, undefined, '"swinv2_tiny_window8_256" is not supported'],
  ])('refuses %s', async (_, config, change, message) => {
    await expect(build(config, change)).rejects.toThrow(message)
  })
})

it('has a random model with the sizes of the real one', async () => {
  const graph = await randomGraph('swin-tiny', 1)
  const { config, tensors } = readGolden('hf-swin-tiny')
  const zeros = async (name: string) => ({ shape: tensors[name], data: new Float32Array(tensors[name].reduce((a, b) => a * b, 1)) })
  const real = await buildGraph({ config, tensors: sourceOf(tensors, zeros) })
  const withoutConstants = (node: Node) => ({ ...node, bias: undefined })
  expect(graph.edges).toEqual(real.edges)
  expect(graph.nodes.map(withoutConstants)).toEqual(real.nodes.map(withoutConstants))
  expect(costOf(graph)).toEqual(costOf(real))
  // 4.5 GMACs, as the literature counts.
  expect(costOf(graph).macs / 1e9).toBeCloseTo(4.5, 1)
})
