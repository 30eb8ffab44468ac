import type { breather } from '../codes/breathe.js'
import { roundValues } from '../codes/round.js'
import { stepsOf } from '../graph/factors.js'
import type { Graph, NodeOf } from '../graph/graph.js'
import type { Code } from '../graph/scheme.js'
import { scalesOf, windowRegions, windowRows, windowsOf } from '../graph/windows.js'
import type { Values } from './evaluate.js'

/**
 * Attention whose logits and probabilities are rounded, as the kernels for codes do it in registers, where nothing else can look.
 */

export interface AttentionCodes {
  /** Null: logits are not rounded (partial coverage). */
  logits: Code | null
  probabilities: Code
}

/** Sees values of one head before and after rounding; `code` has the step of that head and no factors. */
export type Seen = (what: keyof AttentionCodes, before: Float32Array, after: Float32Array, code: Code) => Promise<void>

/**
 * @param q what the codes of queries stand for, [images][rows][width]; k and v alike
 * @returns what the node writes, before that is rounded
 */
export async function codedAttention(
  graph: Graph,
  node: NodeOf<'attention'>,
  [q, k, v]: Values[],
  codes: AttentionCodes,
  seen: Seen,
  breathe: ReturnType<typeof breather>,
): Promise<Values> {
  const { rows, width } = graph.edges.get(node.output) as { rows: number; width: number }
  const { count, tokens } = windowsOf(node, { rows })
  const headWidth = width / node.heads
  const rowOf = node.windows ? windowRows(node.windows) : Int32Array.from({ length: rows }, (_, i) => i)
  const regions = node.windows ? windowRegions(node.windows) : null
  const bias = node.logitBias === undefined ? null : (graph.constants.get(node.logitBias)?.data as Float32Array)
  const steps = stepsOf(codes.probabilities, node.heads)
  const scales = scalesOf(node)
  const output = new Float32Array(q.length)
  const round = async (what: keyof AttentionCodes, values: Float32Array, code: Code) => {
    const before = values.slice()
    await roundValues(values, code, 1, breathe)
    await seen(what, before, values, code)
  }
  for (let image = 0; image < q.length / (rows * width); image++) {
    for (let window = 0; window < count; window++) {
      const first = window * tokens
      const starts = Array.from(rowOf.subarray(first, first + tokens), (row) => (image * rows + row) * width)
      const pairs = attendedPairs(tokens, regions?.subarray(first, first + tokens) ?? null)
      for (let h = 0; h < node.heads; h++) {
        const block = { width: headWidth, starts: starts.map((start) => start + h * headWidth) }
        const logits = dotProducts(q, k, block, pairs, scales[h], bias?.subarray(h * tokens * tokens, (h + 1) * tokens * tokens) ?? null)
        if (codes.logits) await round('logits', logits, codes.logits)
        softmaxRows(logits, pairs)
        await round('probabilities', logits, { ...codes.probabilities, step: steps[h], factors: undefined })
        weightedSums(logits, v, block, pairs, output)
        await breathe()
      }
    }
  }
  return output
}

/** Which keys each query of a window attends to, one query's after another's: query t has those from ends[t - 1] (0) to ends[t]. */
interface Pairs {
  keys: Int32Array
  ends: Int32Array
}

/** The part of the rows of a window that belongs to one head: `width` elements from each of `starts` on. */
interface Block {
  starts: number[]
  width: number
}

/** @param regions [tokens] only tokens of one region attend to each other; null: all */
function attendedPairs(tokens: number, regions: Uint8Array | null): Pairs {
  const [keys, ends] = [new Int32Array(tokens * tokens), new Int32Array(tokens)]
  let pairs = 0
  for (let t = 0; t < tokens; t++) {
    for (let s = 0; s < tokens; s++) if (!regions || regions[t] === regions[s]) keys[pairs++] = s
    ends[t] = pairs
  }
  return { keys: keys.subarray(0, pairs), ends }
}

/** @returns a logit for each pair */
function dotProducts(
  q: Values,
  k: Values,
  { starts, width }: Block,
  { keys, ends }: Pairs,
  scale: number,
  bias: Float32Array | null,
): Values {
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

/** In place. */
function softmaxRows(logits: Values, { ends }: Pairs): void {
  let from = 0
  for (const to of ends) {
    let top = Number.NEGATIVE_INFINITY
    for (let i = from; i < to; i++) top = Math.max(top, logits[i])
    let total = 0
    for (let i = from; i < to; i++) total += Math.exp(logits[i] - top)
    for (let i = from; i < to; i++) logits[i] = Math.exp(logits[i] - top) / total
    from = to
  }
}

/** Adds the rows of v, weighed by probabilities, to the rows of the output. */
function weightedSums(probabilities: Values, v: Values, { starts, width }: Block, { keys, ends }: Pairs, output: Values): void {
  const sums = new Float64Array(width)
  for (let t = 0, i = 0; t < starts.length; t++) {
    sums.fill(0)
    for (; i < ends[t]; i++) {
      const p = probabilities[i]
      const value = starts[keys[i]]
      if (p !== 0) for (let c = 0; c < width; c++) sums[c] += p * v[value + c]
    }
    output.set(sums, starts[t])
  }
}
