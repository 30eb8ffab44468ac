import type { breather } from '../codes/breathe.js'
import { type Compensator, encodeRowCompensated } from '../codes/compensate.js'
import type { Histogram } from '../codes/histogram.js'
import { searchCodebook, searchTwoScale, searchUniform } from '../codes/search.js'
import { encodeRow, searchRow } from '../codes/weights.js'
import type { Graph, Tensor } from '../graph/graph.js'
import type { Code, WeightCode } from '../graph/scheme.js'
import { packWeight } from '../runtime/blobs.js'
import { type ActivationOperand, tensorOf } from './operands.js'

/**
 * The best code of one operand at one width, for values and weights at hand.
 */

/** Attention reads bytes with offset 128: no level may be above this. */
const HIGHEST_SIGNED = 127
const HIGHEST_UNSIGNED = 255

/** Uniform codes with a searched zero point; for softmax and GELU V-2SF where it is better; a codebook where that is better still. */
export function searchCode({ kind }: Pick<ActivationOperand, 'kind'>, histogram: Histogram, bits: number): Code {
  const highest = ['query', 'key', 'value'].includes(kind) ? HIGHEST_SIGNED : HIGHEST_UNSIGNED
  const twoScale = kind === 'probabilities' || kind === 'gelu output'
  const found = twoScale ? searchTwoScale(histogram, bits) : searchUniform(histogram, bits, highest)
  return searchCodebook(histogram, bits, found, highest).code
}

/**
 * How much a squared error of each column weighs in the output of the product that reads it: the squared norm of what multiplies it, other operand
 * unchanged and errors uncorrelated. Null: all columns alike.
 *
 * @param meanSquare of the columns of an edge
 */
export function columnImportance(
  graph: Graph,
  { kind, attention, width, readers }: ActivationOperand,
  meanSquare: (edge: string) => ArrayLike<number>,
): ArrayLike<number> | null {
  if (attention && kind === 'query') return meanSquare(attention.k)
  if (attention && kind === 'key') return meanSquare(attention.q)
  if (readers.length === 0) return null
  const energy = new Float64Array(width)
  for (const reader of readers) {
    const { data } = tensorOf(graph, reader.weight)
    for (let i = 0; i < data.length; i++) energy[i % width] += data[i] * data[i]
  }
  return energy
}

/**
 * @param tensor [outputs][inputs]
 * @param meanSquare [inputs] of what the weight multiplies
 * @param compensator of the same, or null for plain rounding
 */
export async function encodeWeight(
  { shape, data }: Tensor,
  meanSquare: ArrayLike<number>,
  bits: number,
  compensator: Compensator | null,
  breathe: ReturnType<typeof breather>,
): Promise<{ code: WeightCode; levels: Int8Array }> {
  const [outputs, inputs] = shape
  const levels = new Int8Array(data.length)
  const steps = new Float32Array(outputs)
  for (let o = 0; o < outputs; o++) {
    const row = data.subarray(o * inputs, (o + 1) * inputs)
    const target = levels.subarray(o * inputs, (o + 1) * inputs)
    const { step } = searchRow(row, meanSquare, bits)
    if (compensator) encodeRowCompensated(row, step, bits, compensator, target)
    else encodeRow(row, step, bits, target)
    steps[o] = step
    await breathe()
  }
  return { code: { bits, outputs, inputs, packed: packWeight(levels, outputs, inputs, bits), steps }, levels }
}
