import type { Graph } from '../../lib/graph/graph.js'
import { randomSwinOf } from '../../lib/models/random.js'
import type { SwinShape } from '../../lib/models/swin.js'

/**
 * Maps of 12 x 8, 6 x 4, 3 x 2 and 2 x 1 rows: windows that are shifted in both directions, in one, that take the whole map, and rows that
 * have no neighbour to be merged with. No width is a multiple of anything.
 */
export const SMALL_SWIN: SwinShape = {
  channels: 3,
  imageHeight: 24,
  imageWidth: 24,
  patchHeight: 2,
  patchWidth: 3,
  stages: [
    { depth: 2, hidden: 12, heads: 2, intermediate: 30 },
    { depth: 2, hidden: 20, heads: 2, intermediate: 36 },
    { depth: 1, hidden: 36, heads: 3, intermediate: 70 },
    { depth: 2, hidden: 40, heads: 4, intermediate: 50 },
  ],
  window: [3, 4],
  clip: 'each',
  eps: 1e-6,
  classes: 11,
}

/** Every attention has a scale for each head. */
export async function smallSwin(overrides: Partial<SwinShape> = {}, seed = 7): Promise<Graph> {
  const graph = await randomSwinOf({ ...SMALL_SWIN, ...overrides }, seed)
  const scaled = (scale: number | number[], heads: number) => Array.from({ length: heads }, (_, h) => Number(scale) * (1 + h / 4))
  const nodes = graph.nodes.map((node) => (node.op === 'attention' ? { ...node, scale: scaled(node.scale, node.heads) } : node))
  return { ...graph, nodes }
}
