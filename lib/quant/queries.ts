import type { breather } from '../codes/breathe.js'
import type { Graph } from '../graph/graph.js'
import { type AttentionNode, scalesOf, windowRegions, windowRows, windowsOf } from '../graph/windows.js'
import { runGraph } from './evaluate.js'
import type { Calibration, RunOptions } from './observe.js'

/**
 * What happens between queries and softmax, which the kernels keep in registers: a few images once more, in TypeScript.
 */

/** Images looked at. */
const IMAGES = 8

/** One query of one image with the keys that it attends to. */
export interface Query {
  head: number
  /** Queries and keys of the image, [rows][width]. */
  q: Float32Array
  k: Float32Array
  /** Where in `q` its channels begin. */
  at: number
  /** Where in `k` the channels of each key begin. */
  keys: Int32Array
  logits: Float64Array
}

/** Calls `visit` for each query of the attention nodes, which may not keep what it is given. */
export async function eachQuery(
  graph: Graph,
  attentions: AttentionNode[],
  calibration: Calibration,
  visit: (node: AttentionNode, query: Query) => void,
  breathe: ReturnType<typeof breather>,
  { threads, signal }: RunOptions,
): Promise<void> {
  if (attentions.length === 0) return
  const perImage = calibration.pixels.length / calibration.images
  const sizeOf = ({ q }: AttentionNode) => elementsOf(graph, q)
  const outputs = attentions.flatMap(({ q, k }) => [q, k])
  for (let image = 0; image < Math.min(IMAGES, calibration.images); image++) {
    const pixels = calibration.pixels.subarray(image * perImage, (image + 1) * perImage)
    const values = await runGraph(graph, null, pixels, 1, { threads, signal, outputs })
    let first = 0
    for (const node of attentions) {
      const size = sizeOf(node)
      const [q, k] = [values.subarray(first, first + size), values.subarray(first + size, first + 2 * size)]
      await visitAll(graph, node, q, k, (query) => visit(node, query), breathe)
      first += 2 * size
    }
  }
}

function elementsOf(graph: Graph, name: string): number {
  const { rows, width } = graph.edges.get(name) as { rows: number; width: number }
  return rows * width
}

async function visitAll(
  graph: Graph,
  node: AttentionNode,
  q: Float32Array,
  k: Float32Array,
  visit: (query: Query) => void,
  breathe: ReturnType<typeof breather>,
): Promise<void> {
  const { rows, width } = graph.edges.get(node.q) as { rows: number; width: number }
  const { count, tokens } = windowsOf(node, { rows })
  const rowOf = node.windows ? windowRows(node.windows) : Int32Array.from({ length: rows }, (_, i) => i)
  const regions = node.windows ? windowRegions(node.windows) : null
  const bias = node.logitBias === undefined ? null : (graph.constants.get(node.logitBias)?.data as Float32Array)
  const headWidth = width / node.heads
  const logits = new Float64Array(tokens)
  const keys = new Int32Array(tokens)
  for (let window = 0; window < count; window++) {
    for (const [head, scale] of scalesOf(node).entries()) {
      for (let t = 0; t < tokens; t++) {
        const at = rowOf[window * tokens + t] * width + head * headWidth
        let attended = 0
        for (let s = 0; s < tokens; s++) {
          if (regions && regions[window * tokens + t] !== regions[window * tokens + s]) continue
          const key = rowOf[window * tokens + s] * width + head * headWidth
          let sum = 0
          for (let c = 0; c < headWidth; c++) sum += q[at + c] * k[key + c]
          keys[attended] = key
          logits[attended++] = scale * sum + (bias ? bias[(head * tokens + t) * tokens + s] : 0)
        }
        visit({ head, q, k, at, keys: keys.subarray(0, attended), logits: logits.subarray(0, attended) })
      }
      await breathe()
    }
  }
}

/** In place: logits become the weights that softmax gives them. */
export function softmaxOf(logits: Float64Array): Float64Array {
  let top = Number.NEGATIVE_INFINITY
  for (const x of logits) top = Math.max(top, x)
  let total = 0
  for (let s = 0; s < logits.length; s++) {
    logits[s] = Math.exp(logits[s] - top)
    total += logits[s]
  }
  for (let s = 0; s < logits.length; s++) logits[s] /= total
  return logits
}
