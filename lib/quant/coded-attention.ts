import type { breather } from '../codes/breathe.js'
import { roundValues } from '../codes/round.js'
import { stepsOf } from '../graph/factors.js'
import type { Graph, NodeOf } from '../graph/graph.js'
import type { Code } from '../graph/scheme.js'
import { attentionBlocks, type Block, blockLogits, divideBySums, softmaxRows } from './attention-blocks.js'
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
  const steps = stepsOf(codes.probabilities, node.heads)
  const output = new Float32Array(q.length)
  const round = async (what: keyof AttentionCodes, values: Float32Array, code: Code) => {
    const before = values.slice()
    // Without windows each query attends to all rows.
    await roundValues(values, code, code.fineFirst === undefined ? 1 : rows, breathe, rows)
    await seen(what, before, values, code)
  }
  for (let first = 0; first < q.length; first += rows * width) {
    const [queries, keys, values, outputs] = [q, k, v, output].map((all) => all.subarray(first, first + rows * width))
    for (const block of attentionBlocks(graph, node)) {
      const logits = blockLogits(block, queries, keys)
      if (codes.logits) await round('logits', logits, codes.logits)
      const { relative } = codes.probabilities
      softmaxRows(logits, block, relative)
      await round('probabilities', logits, { ...codes.probabilities, step: steps[block.head], factors: undefined })
      if (relative) divideBySums(logits, block)
      weightedSums(logits, values, block, outputs)
      await breathe()
    }
  }
  return output
}

/** Adds the rows of v, weighed by probabilities, to the rows of the output. */
function weightedSums(probabilities: Values, v: Values, { starts, width, keys, ends }: Block, output: Values): void {
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
