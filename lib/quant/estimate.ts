import { prepareWeights } from '../graph/constants.js'
import { costOf } from '../graph/cost.js'
import type { Graph } from '../graph/graph.js'
import { lower } from '../graph/lower.js'
import type { Scheme } from '../graph/scheme.js'
import { Session } from '../runtime/session.js'
import { type Calibration, type RunOptions, SAMPLE_ROWS } from './observe.js'
import { findOperands } from './operands.js'
import type { Preset } from './quantizer.js'
import { firstImages } from './suspects.js'

/**
 * How long a search will take, roughly: counts of what its parts do, times seconds that were measured on one machine, times how much slower this one is.
 */

export interface Work {
  preset: Preset
  coverage: Scheme['coverage']
  /** Of calibration. */
  images: number
  /** Whether damages are measured, as they are for averages. */
  damages: boolean
  /** How many times codes are found for all operands. */
  quantizations: number
  /** Images that run in float and after each quantization. */
  validated: number
}

/** What the time of a search grows with. */
export interface Amounts {
  /** Multiply-adds of one pass over the calibration images. */
  pass: number
  /** Of compensation: elements of weights times inputs. */
  compensation: number
  /** Values that code searches look at, once for all operands. */
  values: number
  /** Multiply-adds of one pass over the validation images. */
  validation: number
}

export function amountsOf(graph: Graph, { coverage, images, validated }: Pick<Work, 'coverage' | 'images' | 'validated'>): Amounts {
  const { macs } = costOf(graph)
  const { weights, activations } = findOperands(graph, coverage)
  return {
    pass: macs * images,
    compensation: weights.reduce((sum, { elements, input }) => sum + elements * input.width, 0),
    values: activations.reduce((sum, { elements, width }) => sum + Math.min(SAMPLE_ROWS * width, elements * images), 0),
    validation: macs * validated,
  }
}

/** Seconds on the machine of the constants, where a multiply-add of a float pass takes this long. */
const REFERENCE_MAC = 1e-11

/** Seconds for each of the amounts: once before any codes, for damages, and each time that codes are found. */
const COSTS: Record<Preset, Record<'prepare' | 'damages' | 'quantize', { pass: number; compensation: number; values: number }>> = {
  best: {
    prepare: { pass: 0, compensation: 0, values: 0 },
    damages: { pass: 0, compensation: 0, values: 0 },
    quantize: { pass: 0, compensation: 0, values: 0 },
  },
  mptq: {
    prepare: { pass: 0, compensation: 0, values: 0 },
    damages: { pass: 0, compensation: 0, values: 0 },
    quantize: { pass: 0, compensation: 0, values: 0 },
  },
  tsptq: {
    prepare: { pass: 0, compensation: 0, values: 0 },
    damages: { pass: 0, compensation: 0, values: 0 },
    quantize: { pass: 0, compensation: 0, values: 0 },
  },
  minmax: {
    prepare: { pass: 0, compensation: 0, values: 0 },
    damages: { pass: 0, compensation: 0, values: 0 },
    quantize: { pass: 0, compensation: 0, values: 0 },
  },
}

/** @param secondsPerMac of a float pass on this machine */
export function estimateSeconds(graph: Graph, work: Work, secondsPerMac: number): number {
  const { validation, ...amounts } = amountsOf(graph, work)
  const costs = COSTS[work.preset]
  const priced = (cost: Omit<Amounts, 'validation'>) =>
    cost.pass * amounts.pass + cost.compensation * amounts.compensation + cost.values * amounts.values
  const search = priced(costs.prepare) + (work.damages ? priced(costs.damages) : 0) + work.quantizations * priced(costs.quantize)
  return (search * secondsPerMac) / REFERENCE_MAC + validation * (1 + work.quantizations) * secondsPerMac
}

const PROBE_IMAGES = 4

/** Seconds that a multiply-add takes here in a float pass over a few of the images, memory and processor as in the middle of work. */
export async function probe(graph: Graph, calibration: Calibration, { threads, signal }: RunOptions): Promise<number> {
  const { pixels, images } = firstImages(calibration, PROBE_IMAGES)
  await prepareWeights(graph, null, signal)
  const session = new Session(lower(graph, null).plan, { threads })
  try {
    await session.run(pixels, images, { signal })
    const start = performance.now()
    await session.run(pixels, images, { signal })
    return (performance.now() - start) / 1000 / images / costOf(graph).macs
  } finally {
    session.dispose()
  }
}
