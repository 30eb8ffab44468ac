import type { Graph } from '../../lib/graph/graph.js'
import { randomVitOf } from '../../lib/models/random.js'
import type { VitShape } from '../../lib/models/vit.js'

/** Sizes that are no multiple of anything, so that all padding is at work. */
export const SMALL_SHAPE: VitShape = {
  architecture: 'deit',
  channels: 3,
  imageHeight: 21,
  imageWidth: 14,
  patchHeight: 7,
  patchWidth: 5,
  hidden: 36,
  heads: 3,
  intermediate: 70,
  layers: 2,
  eps: 1e-6,
  distillationToken: true,
  distillationHead: true,
  classes: 11,
}

export const smallVit = (overrides: Partial<VitShape> = {}, seed = 7): Promise<Graph> => randomVitOf({ ...SMALL_SHAPE, ...overrides }, seed)
