import type { breather } from '../codes/breathe.js'
import { Histogram } from '../codes/histogram.js'
import { type Observation, observationOf } from '../codes/observation.js'
import { searchUniform } from '../codes/search.js'
import type { Code } from '../graph/scheme.js'
import { sampleStride } from './observe.js'
import type { ActivationOperand } from './operands.js'

/**
 * A code for an operand of attention with a step for each head: some heads look at a few tokens and some at all of them, whose
 * probabilities are then tens of times smaller. The levels are those of one code; what is coded by them is each head's values in units of
 * the step that a uniform code would have for this head alone. The kernels read a step for each head anyway.
 */

export type Headed = Pick<ActivationOperand, 'kind' | 'attention' | 'elements' | 'width'>

export interface HeadUnits {
  /** Of the values in units, weighed so that losses are those of the values themselves. */
  histogram: Histogram
  /** [heads] */
  units: Float64Array
}

/** Of the uniform code that gives the units. */
const UNIT_BITS = 4

/**
 * @param importance [width] of a squared error in each column, or null for 1
 * @returns null where there is one head
 */
export async function headUnits(
  operand: Headed,
  observation: Observation,
  importance: ArrayLike<number> | null,
  breathe: ReturnType<typeof breather>,
): Promise<HeadUnits | null> {
  const heads = operand.attention?.heads ?? 1
  if (heads === 1 || operand.kind === 'logits') return null
  const { samples, width } = observation
  const headOf = headsOf(operand, observation)
  const units = await unitsOf(samples, heads, headOf, breathe)
  const scaled = new Float32Array(samples.length)
  for (let i = 0; i < samples.length; i++) scaled[i] = samples[i] / units[headOf(i)]
  const rows = operand.kind === 'probabilities'
  const squares = (i: number) => units[headOf(i)] ** 2
  const rowWeights = rows ? Float64Array.from({ length: samples.length / width }, (_, t) => squares(t * width)) : null
  const weights = Float64Array.from({ length: width }, (_, c) => (importance ? importance[c] : 1) * (rows ? 1 : squares(c)))
  return { histogram: await Histogram.of(observationOf(scaled, width), weights, breathe, rowWeights), units }
}

/** A code of values in units as a code of the values. */
export function inUnits(code: Code, units: Float64Array): Code {
  return { ...code, step: Math.fround(code.step * units[0]), factors: Float32Array.from(units, (unit) => unit / units[0]) }
}

/** [heads] the step of a uniform code for each. */
async function unitsOf(
  samples: Float32Array,
  heads: number,
  headOf: (element: number) => number,
  breathe: ReturnType<typeof breather>,
): Promise<Float64Array> {
  const counts = new Int32Array(heads)
  for (let i = 0; i < samples.length; i++) counts[headOf(i)]++
  const values = Array.from(counts, (count) => new Float32Array(count))
  for (let i = samples.length - 1; i >= 0; i--) {
    const head = headOf(i)
    values[head][--counts[head]] = samples[i]
  }
  const units = new Float64Array(heads)
  for (let head = 0; head < heads; head++) {
    await breathe()
    units[head] = searchUniform(await Histogram.of(observationOf(values[head], 1), null, breathe), UNIT_BITS, 127).code.step
  }
  return units
}

/** The head to which each sampled element belongs: of probabilities by row, [windows][heads][tokens], else by column. */
function headsOf({ kind, attention, elements, width }: Headed, { count }: Observation): (element: number) => number {
  const { heads } = attention as { heads: number }
  if (kind !== 'probabilities') return (element) => Math.floor(((element % width) * heads) / width)
  const stride = sampleStride(count, elements / width)
  return (element) => Math.floor((Math.floor(element / width) * stride) / width) % heads
}
