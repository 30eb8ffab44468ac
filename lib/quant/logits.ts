import { breather } from '../codes/breathe.js'
import { type Observation, observationOf } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import { logitsOf } from '../graph/scheme.js'
import type { AttentionNode } from '../graph/windows.js'
import { attentionBlocks, type Block, blockLogits, softmaxRows } from './attention-blocks.js'
import { runGraph, type Values } from './evaluate.js'
import { type Calibration, firstImages, type RunOptions } from './observe.js'

/**
 * What softmax reads. An error of a logit changes the output of attention as much as its softmax is large, so of the logits of each query
 * those are kept that a draw from its softmax gives.
 */

/** Images looked at. */
const IMAGES = 8
/** Logits that are kept of each query. */
const DRAWS = 4

/** @returns by {@link logitsOf} attention nodes; each an observation of one column whose extremes are those of all logits */
export async function observeLogits(
  graph: Graph,
  calibration: Calibration,
  { threads, signal }: RunOptions = {},
): Promise<Map<string, Observation>> {
  const attentions = graph.nodes.filter((node): node is AttentionNode => node.op === 'attention')
  const { pixels, images } = firstImages(calibration, IMAGES)
  const breathe = breather(signal)
  const found = new Map<string, Observation>()
  for (const node of attentions) {
    const values = await runGraph(graph, null, pixels, images, { threads, signal, outputs: [node.q, node.k] })
    const size = values.length / images / 2
    const sampled = new Sampled()
    for (let image = 0; image < images; image++) {
      const [q, k] = [2 * image, 2 * image + 1].map((part) => values.subarray(part * size, (part + 1) * size))
      for (const block of attentionBlocks(graph, node)) {
        sampled.add(block, blockLogits(block, q, k))
        await breathe()
      }
    }
    found.set(logitsOf(node), sampled.observation())
  }
  return found
}

class Sampled {
  private readonly kept: number[] = []
  private count = 0
  private min = Number.POSITIVE_INFINITY
  private max = Number.NEGATIVE_INFINITY

  add(block: Block, logits: Values): void {
    const weights = logits.slice()
    softmaxRows(weights, block)
    this.count += logits.length
    let first = 0
    for (const end of block.ends) {
      let passed = 0
      let drawn = 0
      for (let i = first; i < end; i++) {
        this.min = Math.min(this.min, logits[i])
        this.max = Math.max(this.max, logits[i])
        passed += weights[i]
        while (drawn < DRAWS && passed > (drawn + 0.5) / DRAWS) {
          this.kept.push(logits[i])
          drawn++
        }
      }
      first = end
    }
  }

  observation(): Observation {
    const seen = observationOf(Float32Array.from(this.kept), 1)
    return { ...seen, count: this.count, min: Float64Array.of(this.min), max: Float64Array.of(this.max) }
  }
}
