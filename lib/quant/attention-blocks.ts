import type { Graph } from '../graph/graph.js'
import { type AttentionNode, scalesOf, windowRegions, windowRows, windowsOf } from '../graph/windows.js'
import type { Values } from './evaluate.js'

/**
 * What happens between queries and softmax, which the kernels keep in registers, in TypeScript: block after block, a block being one head
 * of one window.
 */
export interface Block {
  head: number
  /** Columns of a head. */
  width: number
  /** [tokens]: where in an image's queries (keys, values, outputs) the columns of each token begin. */
  starts: Int32Array
  /** Which tokens each query attends to, one query's after another's: query t has those from ends[t - 1] (0) to ends[t]. */
  keys: Int32Array
  ends: Int32Array
  scale: number
  /** [tokens][tokens] */
  bias: Float32Array | null
}

/** Those of one image. */
export function* attentionBlocks(graph: Graph, node: AttentionNode): Generator<Block> {
  const { rows, width } = graph.edges.get(node.q) as { rows: number; width: number }
  const { count, tokens } = windowsOf(node, { rows })
  const rowOf = node.windows ? windowRows(node.windows) : Int32Array.from({ length: rows }, (_, i) => i)
  const regions = node.windows ? windowRegions(node.windows) : null
  const bias = node.logitBias === undefined ? null : (graph.constants.get(node.logitBias)?.data as Float32Array)
  const scales = scalesOf(node)
  const headWidth = width / node.heads
  for (let window = 0; window < count; window++) {
    const [first, last] = [window * tokens, (window + 1) * tokens]
    const pairs = attendedPairs(tokens, regions?.subarray(first, last) ?? null)
    for (let head = 0; head < node.heads; head++) {
      const starts = rowOf.subarray(first, last).map((row) => row * width + head * headWidth)
      const added = bias?.subarray(head * tokens * tokens, (head + 1) * tokens * tokens) ?? null
      yield { head, width: headWidth, starts, ...pairs, scale: scales[head], bias: added }
    }
  }
}

/** @param regions [tokens] only tokens of one region attend to each other; null: all */
function attendedPairs(tokens: number, regions: Uint8Array | null): Pick<Block, 'keys' | 'ends'> {
  const [keys, ends] = [new Int32Array(tokens * tokens), new Int32Array(tokens)]
  let pairs = 0
  for (let t = 0; t < tokens; t++) {
    for (let s = 0; s < tokens; s++) if (!regions || regions[t] === regions[s]) keys[pairs++] = s
    ends[t] = pairs
  }
  return { keys: keys.subarray(0, pairs), ends }
}

/**
 * @param q queries of one image, and keys
 * @returns a logit for each of the block's keys
 */
export function blockLogits({ starts, width, keys, ends, scale, bias }: Block, q: Values, k: Values): Values {
  const logits = new Float32Array(keys.length)
  for (let t = 0, i = 0; t < starts.length; t++) {
    for (; i < ends[t]; i++) {
      const [query, key] = [starts[t], starts[keys[i]]]
      let sum = 0
      for (let c = 0; c < width; c++) sum += q[query + c] * k[key + c]
      logits[i] = scale * sum + (bias ? bias[t * starts.length + keys[i]] : 0)
    }
  }
  return logits
}

/**
 * In place, query by query.
 *
 * @param relative whether in units of the largest of each query, not yet divided by their sum
 */
export function softmaxRows(logits: Values, { ends }: Pick<Block, 'ends'>, relative = false): void {
  let from = 0
  for (const to of ends) {
    let top = Number.NEGATIVE_INFINITY
    for (let i = from; i < to; i++) top = Math.max(top, logits[i])
    for (let i = from; i < to; i++) logits[i] = Math.exp(logits[i] - top)
    from = to
  }
  if (!relative) divideBySums(logits, { ends })
}

/** In place, query by query; zeros stay zeros. */
export function divideBySums(weights: Values, { ends }: Pick<Block, 'ends'>): void {
  let from = 0
  for (const to of ends) {
    let total = 0
    for (let i = from; i < to; i++) total += weights[i]
    if (total > 0) for (let i = from; i < to; i++) weights[i] /= total
    from = to
  }
}
