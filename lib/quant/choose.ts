import type { breather } from '../codes/breathe.js'
import { uniformCode } from '../codes/code.js'
import { type Compensator, encodeRowsCompensated } from '../codes/compensate.js'
import { encodeRowsSearched } from '../codes/descend.js'
import { searchLog, searchRegions } from '../codes/families.js'
import { withFineFirst } from '../codes/fine-first.js'
import { Histogram } from '../codes/histogram.js'
import { type Observation, observationOf } from '../codes/observation.js'
import { searchOutliers, searchReach } from '../codes/outliers.js'
import { type Found, searchCodebook, searchSymmetric, searchTwoScale, searchUniform } from '../codes/search.js'
import { StreamLoss } from '../codes/stream-loss.js'
import { encodeRow, searchRow, searchTensor } from '../codes/weights.js'
import type { Graph, Tensor } from '../graph/graph.js'
import { isStored } from '../graph/operands.js'
import { type Code, FINE_BITS, type WeightCode } from '../graph/scheme.js'
import { packWeight, unpackWeight } from '../runtime/blobs.js'
import { headUnits, inUnits } from './head-steps.js'
import type { RunOptions } from './observe.js'
import { type ActivationOperand, tensorOf } from './operands.js'
import { NOTHING, type Without } from './parts.js'
import { multiplyRows } from './product.js'
import { relativeRows } from './relative.js'
import { rowWeights } from './row-weights.js'

/**
 * The best code of one operand at one width, for values and weights at hand.
 */

/** Attention reads bytes with offset 128: no level may be above this. */
const HIGHEST_SIGNED = 127
const HIGHEST_UNSIGNED = 255

const highestOf = (kind: ActivationOperand['kind']): number =>
  ['query', 'key', 'value'].includes(kind) ? HIGHEST_SIGNED : HIGHEST_UNSIGNED

/** What of an operand decides how its code is searched. */
export type Searched = Pick<ActivationOperand, 'kind' | 'factors' | 'anyZero' | 'fineFirst' | 'elements' | 'width' | 'attention'>

/** The width at which one step and a step for each head are compared. */
const COMPARED_BITS = 4

/** The search of one edge's code: what it holds is sorted once, for all widths. */
export class CodeSearch {
  private fine: Code | null | undefined

  private constructor(
    private readonly operand: Searched,
    private readonly observation: Observation,
    private readonly importance: ArrayLike<number> | null,
    private readonly histogram: Histogram,
    private readonly breathe: ReturnType<typeof breather>,
    private readonly without: Without,
    /** In which the values of the histogram are given: [heads], 'largest' (relative.ts), or null: as they are. */
    private readonly units: Float64Array | 'largest' | null = null,
  ) {}

  /** @param importance of a squared error in each column, null: all alike */
  static async of(
    operand: Searched,
    observation: Observation,
    importance: ArrayLike<number> | null,
    breathe: ReturnType<typeof breather>,
    without: Without,
  ): Promise<CodeSearch> {
    if (operand.kind === 'probabilities' && !without.has('relative-softmax')) {
      const relative = await relativeRows(observation, importance, breathe)
      const histogram = await Histogram.of(relative.observation, relative.importance, breathe, relative.rowWeights)
      return new CodeSearch(operand, observation, importance, histogram, breathe, without, 'largest')
    }
    const histogram = await Histogram.of(observation, importance, breathe, rowWeights(operand, observation))
    const search = new CodeSearch(operand, observation, importance, histogram, breathe, without)
    const headed = without.has('head-steps') ? null : await headUnits(operand, observation, importance, breathe)
    if (!headed) return search
    const other = new CodeSearch(operand, observation, importance, headed.histogram, breathe, without, headed.units)
    return (await other.bestOfAll(COMPARED_BITS)).loss < (await search.bestOfAll(COMPARED_BITS)).loss ? other : search
  }

  /**
   * A uniform code with a searched zero point; contiguous regions, for softmax and GELU V-2SF and logarithmic levels, for the residual
   * stream O-2SF, where they are better; a codebook where that is better still. Operands of attention may have a step for each head, and
   * softmax is relative to the largest weight of each query. What is rounded in registers has a uniform code of one step, or O-2SF.
   *
   * @returns with the weighted squared error of all sampled rows, of which none is taken to be fine; where a first row shall be, 8 bits
   *   reach as far as it does
   */
  async best(bits: number): Promise<Found> {
    const found = await this.bestOfAll(bits)
    if (!this.operand.fineFirst) return found
    const { kind, anyZero } = this.operand
    const lowest = highestOf(kind) === HIGHEST_SIGNED ? 'signed' : anyZero ? 'any' : 'plain'
    const code = withFineFirst(found.code, await this.fineCode(), lowest)
    const unit = typeof this.units === 'object' && this.units ? this.units[0] : 1
    return { code, loss: this.histogram.lossOf({ ...code, step: code.step / unit, factors: undefined }) }
  }

  /** What first rows would have by themselves; null where nothing is known of them. */
  private async fineCode(): Promise<Code | null> {
    if (this.fine !== undefined) return this.fine
    const { observation, units } = this
    if (units === 'largest') this.fine = uniformCode(FINE_BITS, 1 / HIGHEST_UNSIGNED, 0)
    else if (!observation.firstRows) this.fine = null
    else {
      const { width, firstRows } = observation
      const head = (i: number) => Math.floor(((i % width) * (units?.length as number)) / width)
      const rows = units ? firstRows.map((x, i) => (x * units[0]) / units[head(i)]) : firstRows
      const histogram = await Histogram.of(observationOf(rows, width), this.importance, this.breathe)
      const { kind, anyZero } = this.operand
      this.fine = searchUniform(histogram, FINE_BITS, highestOf(kind), anyZero).code
    }
    return this.fine
  }

  private async bestOfAll(bits: number): Promise<Found> {
    const { kind } = this.operand
    await this.breathe()
    if (kind === 'gelu input' && !this.without.has('o2sf')) return searchReach(this.observation, bits, this.importance, this.breathe)
    if (!isStored(this.operand)) return searchSymmetric(this.histogram, bits)
    const highest = highestOf(kind)
    const named = await this.bestNamed(bits, highest)
    const found = this.without.has('codebooks') ? named : searchCodebook(this.histogram, bits, named, highest)
    if (kind === 'residual') return this.bestOfStream(bits, found)
    if (this.units === 'largest') return { ...found, code: { ...found.code, relative: true } }
    return this.units ? { ...found, code: inUnits(found.code, this.units) } : found
  }

  /** Of what has a formula. */
  private async bestNamed(bits: number, highest: number): Promise<Found> {
    const { histogram, without } = this
    const skewed = this.operand.kind === 'probabilities' || this.operand.kind === 'gelu output'
    const twoScale = skewed && !without.has('v2sf')
    const { anyZero } = this.operand
    const simple = twoScale ? searchTwoScale(histogram, bits, anyZero) : searchUniform(histogram, bits, highest, anyZero)
    if (without.has('families')) return simple
    await this.breathe()
    const regions = searchRegions(histogram, bits, simple, highest)
    await this.breathe()
    return skewed ? searchLog(histogram, bits, regions, highest) : regions
  }

  /** @param found without a look at what LayerNorm makes of its errors */
  private async bestOfStream(bits: number, { code }: Found): Promise<Found> {
    const { elements, width, factors } = this.operand
    const { rowsAnImage = elements / width } = this.observation
    const losses = new StreamLoss(this.observation, this.importance, rowsAnImage, this.breathe)
    const found = { code, loss: await losses.of(code) }
    if (!factors || this.without.has('o2sf')) return found
    const outliers = await searchOutliers(this.observation, bits, losses)
    return outliers.loss < found.loss ? outliers : found
  }
}

/**
 * How much a squared error of each column weighs in the output of the product that reads it: the squared norm of what multiplies it, other
 * operand unchanged and errors uncorrelated. Null: all columns alike.
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
  without = NOTHING,
  options: RunOptions = {},
): Promise<{ code: WeightCode; levels: Int8Array }> {
  const [outputs, inputs] = shape
  const one = without.has('row-steps') ? await searchTensor(data, meanSquare, bits, breathe) : null
  const starts = new Float32Array(outputs)
  for (let o = 0; o < outputs; o++) {
    starts[o] = (one ?? searchRow(data.subarray(o * inputs, (o + 1) * inputs), meanSquare, bits)).step
    await breathe()
  }
  const { levels, steps } = await roundRows()
  return { code: { bits, outputs, inputs, packed: packWeight(levels, outputs, inputs, bits), steps }, levels }

  async function roundRows(): Promise<{ levels: Int8Array; steps: Float32Array }> {
    const multiply = (x: Float32Array, weight: Tensor) => multiplyRows(x, weight, options)
    if (compensator && !one && !without.has('descent')) {
      return encodeRowsSearched({ shape, data }, starts, bits, compensator, multiply, breathe)
    }
    if (compensator) return { ...(await encodeRowsCompensated(data, starts, bits, compensator, multiply, breathe)), steps: starts }
    const levels = new Int8Array(data.length)
    for (let from = 0, o = 0; o < outputs; o++, from += inputs) {
      encodeRow(data.subarray(from, from + inputs), starts[o], bits, levels.subarray(from, from + inputs))
    }
    return { levels, steps: starts }
  }
}

/** The tensor that a code stands for. */
export function decodeWeight({ outputs, inputs, packed, bits, steps }: WeightCode): Tensor {
  const levels = unpackWeight(packed, outputs, inputs, bits)
  const data = new Float32Array(levels.length)
  for (let i = 0, o = 0; o < outputs; o++) for (let j = 0; j < inputs; j++, i++) data[i] = levels[i] * steps[o]
  return { shape: [outputs, inputs], data }
}
