import type { Graph, Tensor, Windows } from '../graph/graph.js'
import { GraphBuilder, type Patches, type Tensors } from './builder.js'

/**
 * Swin transformers (Liu et al., 2021) as graphs, whatever their tensors are called.
 */

export interface SwinStage {
  /** Every other block has its windows shifted by half of one. */
  depth: number
  hidden: number
  heads: number
  intermediate: number
}

export interface SwinShape extends Patches {
  /** Each but the first has a quarter of the rows of the one before, from merging 2 x 2 neighbours. */
  stages: SwinStage[]
  /** [height, width] in patches. */
  window: [number, number]
  /**
   * What becomes of a window that reaches the size of the map: 'both' sides of it take the map's shorter side and nothing is shifted as
   * soon as that is reached, or 'each' side by itself.
   */
  clip: 'both' | 'each'
  /** Of the norms inside blocks and of the last one; those of embedding and merging have {@link EPS}. */
  eps: number
  classes: number
}

/** The default of LayerNorm where frameworks do not set it. */
const EPS = 1e-5

/**
 * @param tensors by our names: `patch_embedding`, `embeddings` (its norm), `stages.S.blocks.B.norm1`, `.attention.query`, `.attention.key`,
 *   `.attention.value`, `.attention.output`, `.norm2`, `.mlp.fc1`, `.mlp.fc2`, `stages.S.merge.norm`, `stages.S.merge.reduction` (without
 *   bias), `norm` and `head`, each with `.weight` and `.bias`; and `stages.S.blocks.B.attention.position_bias` [(2 h - 1)(2 w - 1)][heads]
 *   for windows of h x w
 */
export async function buildSwin(shape: SwinShape, tensors: Tensors): Promise<Graph> {
  const { imageHeight, imageWidth, patchHeight, patchWidth, stages, eps, classes } = shape
  if (imageHeight % patchHeight || imageWidth % patchWidth) {
    throw new Error(`images of ${imageHeight} x ${imageWidth} do not divide into patches of ${patchHeight} x ${patchWidth}`)
  }
  const builder = new GraphBuilder(tensors)
  await builder.patchEmbedding(shape, stages[0].hidden)
  await builder.norm('embeddings', 'patch_embedding', stages[0].hidden, EPS)
  let rows = 'embeddings'
  let map: [number, number] = [imageHeight / patchHeight, imageWidth / patchWidth]
  for (const [s, stage] of stages.entries()) {
    if (s > 0) {
      rows = await merge(builder, `stages.${s}.merge`, rows, map, stages[s - 1].hidden, stage.hidden)
      map = [Math.ceil(map[0] / 2), Math.ceil(map[1] / 2)]
    }
    for (let b = 0; b < stage.depth; b++) rows = await block(builder, `stages.${s}.blocks.${b}`, rows, shape, stage, map, b % 2 === 1)
  }
  const { hidden } = stages[stages.length - 1]
  await builder.norm('norm', rows, hidden, eps)
  builder.nodes.push({ name: 'mean', output: 'mean', op: 'mean', input: 'norm' })
  await builder.linear('head', 'mean', hidden, classes)
  return builder.finish('swin', shape)
}

/** @returns the edge of merged rows */
async function merge(builder: GraphBuilder, name: string, input: string, map: [number, number], inputs: number, outputs: number) {
  builder.nodes.push({ name, output: name, op: 'merge', input, height: map[0], width: map[1] })
  await builder.norm(`${name}.norm`, name, 4 * inputs, EPS)
  await builder.linear(`${name}.reduction`, `${name}.norm`, 4 * inputs, outputs)
  return `${name}.reduction`
}

async function block(
  builder: GraphBuilder,
  name: string,
  input: string,
  shape: SwinShape,
  { hidden, heads, intermediate }: SwinStage,
  map: [number, number],
  shifted: boolean,
): Promise<string> {
  if (hidden % heads) throw new Error(`${name}: a hidden size of ${hidden} does not divide into ${heads} heads`)
  const windows = windowsOn(map, shape, shifted)
  const { window } = windows
  if (map[0] % window[0] || map[1] % window[1]) {
    throw new Error(
      `${name}: images of ${shape.imageHeight} x ${shape.imageWidth} become a map of ${map.join(' x ')} here, which does not divide into windows ` +
        `of ${window.join(' x ')}; padding is not supported: resize images so that it does`,
    )
  }
  const table = await builder.need(`${name}.attention.position_bias`, [(2 * window[0] - 1) * (2 * window[1] - 1), heads])
  return builder.block(name, input, { hidden, heads, intermediate, eps: shape.eps, windows, logitBias: expandBias(table, window) })
}

function windowsOn(map: [number, number], { window, clip }: SwinShape, shifted: boolean): Windows {
  const reached = map.map((size, i) => size <= window[i])
  const whole = clip === 'both' && reached.some(Boolean) ? [true, true] : reached
  const side = (i: number) => (clip === 'both' ? Math.min(...map) : map[i])
  const of = (size: (i: 0 | 1) => number): [number, number] => [size(0), size(1)]
  return {
    map,
    window: of((i) => (whole[i] ? side(i) : window[i])),
    shift: of((i) => (shifted && !whole[i] ? Math.floor(window[i] / 2) : 0)),
  }
}

/** The bias of each pair of tokens, which depends on their distance alone: [(2 h - 1)(2 w - 1)][heads] to [heads][tokens][tokens]. */
function expandBias({ shape, data }: Tensor, [height, width]: [number, number]): Tensor {
  const heads = shape[1]
  const tokens = height * width
  const expanded = new Float32Array(heads * tokens * tokens)
  for (let t = 0; t < tokens; t++) {
    for (let s = 0; s < tokens; s++) {
      const down = Math.floor(t / width) - Math.floor(s / width) + height - 1
      const right = (t % width) - (s % width) + width - 1
      const row = down * (2 * width - 1) + right
      for (let h = 0; h < heads; h++) expanded[(h * tokens + t) * tokens + s] = data[row * heads + h]
    }
  }
  return { shape: [heads, tokens, tokens], data: expanded }
}
