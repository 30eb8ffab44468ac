import { breather } from '../codes/breathe.js'
import { type Observation, observationOf } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import { logitsOf } from '../graph/scheme.js'
import type { AttentionNode } from '../graph/windows.js'
import type { Calibration, RunOptions } from './observe.js'
import { eachQuery, softmaxOf } from './queries.js'

/**
 * What softmax reads. An error of a logit changes the output of attention as much as its softmax is large, so of the logits of each query those are kept
 * that a draw from its softmax gives.
 */

/** Logits that are kept of each query. */
const DRAWS = 4

/** @returns by {@link logitsOf} attention nodes; each an observation of one column whose extremes are those of all logits */
export async function observeLogits(graph: Graph, calibration: Calibration, options: RunOptions = {}): Promise<Map<string, Observation>> {
  const attentions = graph.nodes.filter((node): node is AttentionNode => node.op === 'attention')
  const seen = new Map(attentions.map((node) => [logitsOf(node), new Sampled()]))
  const visit = (node: AttentionNode, { logits }: { logits: Float64Array }) => seen.get(logitsOf(node))?.add(logits)
  await eachQuery(graph, attentions, calibration, visit, breather(options.signal), options)
  return new Map([...seen].map(([name, sampled]) => [name, sampled.observation()]))
}

class Sampled {
  private readonly kept: number[] = []
  private count = 0
  private min = Number.POSITIVE_INFINITY
  private max = Number.NEGATIVE_INFINITY

  /** Of one query. */
  add(logits: Float64Array): void {
    for (const x of logits) {
      this.min = Math.min(this.min, x)
      this.max = Math.max(this.max, x)
    }
    this.count += logits.length
    const weights = softmaxOf(logits.slice())
    let [passed, drawn] = [0, 0]
    for (const [s, x] of logits.entries()) {
      passed += weights[s]
      while (drawn < DRAWS && passed > (drawn + 0.5) / DRAWS) {
        this.kept.push(x)
        drawn++
      }
    }
  }

  observation(): Observation {
    const seen = observationOf(Float32Array.from(this.kept), 1)
    return { ...seen, count: this.count, min: Float64Array.of(this.min), max: Float64Array.of(this.max) }
  }
}
