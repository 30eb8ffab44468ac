import { breather } from '../codes/breathe.js'
import { type Observation, observationOf } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import { logitsOf } from '../graph/scheme.js'
import { type AttentionNode, scalesOf, windowRegions, windowRows, windowsOf } from '../graph/windows.js'
import { runGraph } from './evaluate.js'
import type { Calibration, RunOptions } from './observe.js'

/**
 * What softmax reads, which no observer sees: the kernels keep logits in registers. Queries and keys of a few images are multiplied once more.
 *
 * An error of a logit changes the output of attention as much as its softmax is large, so of the logits of each query those are kept that a draw from
 * its softmax gives.
 */

/** Images looked at. */
const IMAGES = 8
/** Logits that are kept of each query. */
const DRAWS = 4

/** @returns by {@link logitsOf} attention nodes; each an observation of one column whose extremes are those of all logits */
export async function observeLogits(graph: Graph, calibration: Calibration, options: RunOptions = {}): Promise<Map<string, Observation>> {
  const attentions = graph.nodes.filter((node): node is AttentionNode => node.op === 'attention')
  const images = Math.min(IMAGES, calibration.images)
  const pixels = calibration.pixels.subarray(0, (calibration.pixels.length / calibration.images) * images)
  const outputs = attentions.flatMap(({ q, k }) => [q, k])
  const breathe = breather(options.signal)
  const values =
    attentions.length === 0
      ? new Float32Array(0)
      : await runGraph(graph, null, pixels, images, { threads: options.threads, signal: options.signal, outputs })
  const perImage = values.length / images
  const found = new Map<string, Observation>()
  let first = 0
  for (const node of attentions) {
    const size = elementsOf(graph, node.q)
    const seen = new Sampled()
    for (let image = 0; image < images; image++) {
      const at = image * perImage + first
      await seen.add(graph, node, values.subarray(at, at + size), values.subarray(at + size, at + 2 * size), breathe)
    }
    found.set(logitsOf(node), seen.observation())
    first += 2 * size
  }
  return found
}

function elementsOf(graph: Graph, name: string): number {
  const { rows, width } = graph.edges.get(name) as { rows: number; width: number }
  return rows * width
}

class Sampled {
  private readonly kept: number[] = []
  private count = 0
  private min = Number.POSITIVE_INFINITY
  private max = Number.NEGATIVE_INFINITY

  /** @param q queries of one image, [rows][width]; and keys */
  async add(graph: Graph, node: AttentionNode, q: Float32Array, k: Float32Array, breathe: ReturnType<typeof breather>): Promise<void> {
    const { rows, width } = graph.edges.get(node.q) as { rows: number; width: number }
    const { count, tokens } = windowsOf(node, { rows })
    const rowOf = node.windows ? windowRows(node.windows) : Int32Array.from({ length: rows }, (_, i) => i)
    const regions = node.windows ? windowRegions(node.windows) : null
    const bias = node.logitBias === undefined ? null : (graph.constants.get(node.logitBias)?.data as Float32Array)
    const headWidth = width / node.heads
    const logits = new Float64Array(tokens)
    for (let window = 0; window < count; window++) {
      for (const [head, scale] of scalesOf(node).entries()) {
        for (let t = 0; t < tokens; t++) {
          const query = rowOf[window * tokens + t] * width + head * headWidth
          let attended = 0
          for (let s = 0; s < tokens; s++) {
            if (regions && regions[window * tokens + t] !== regions[window * tokens + s]) continue
            const key = rowOf[window * tokens + s] * width + head * headWidth
            let sum = 0
            for (let c = 0; c < headWidth; c++) sum += q[query + c] * k[key + c]
            logits[attended++] = scale * sum + (bias ? bias[(head * tokens + t) * tokens + s] : 0)
          }
          this.draw(logits.subarray(0, attended))
        }
        await breathe()
      }
    }
  }

  /** Of one query. */
  private draw(logits: Float64Array): void {
    let top = Number.NEGATIVE_INFINITY
    for (const x of logits) {
      top = Math.max(top, x)
      this.min = Math.min(this.min, x)
    }
    this.max = Math.max(this.max, top)
    this.count += logits.length
    let total = 0
    for (const x of logits) total += Math.exp(x - top)
    let [passed, drawn] = [0, 0]
    for (const x of logits) {
      passed += Math.exp(x - top) / total
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
