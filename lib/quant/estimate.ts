import { prepareWeights } from '../graph/constants.js'
import { costOf } from '../graph/cost.js'
import type { Graph } from '../graph/graph.js'
import { lower } from '../graph/lower.js'
import type { Scheme } from '../graph/scheme.js'
import { Session } from '../runtime/session.js'
import { type Calibration, firstImages, type RunOptions, SAMPLE_ROWS } from './observe.js'
import { findOperands } from './operands.js'
import { trialImages } from './published/mixed.js'
import type { Preset } from './quantizer.js'

/**
 * How long a search will take, roughly: counts of what its parts do, at the seconds that one machine took for them, times how much slower this one is.
 */

export interface Work {
  preset: Preset
  coverage: Scheme['coverage']
  /** Of calibration. */
  images: number
  /** Whether widths are searched, as they are for averages. */
  widths: boolean
  /** How many times codes are found for all operands. */
  quantizations: number
  /** Images that run in float and after each quantization. */
  validated: number
}

/** How fast this machine is. */
export interface Speed {
  /** Of a multiply-add in a float pass, on all threads. */
  secondsPerMac: number
  /** Of a script, as a multiple of what it took on the machine of {@link COSTS}. */
  slowdown: number
}

/** What the time of a search grows with. */
export interface Amounts {
  /** Multiply-adds of one pass over the calibration images. */
  passes: number
  /** Multiply-adds of runs of a narrower model, one an operand, that Greedy MP compares. */
  trials: number
  /** Of compensation: elements of weights times inputs. */
  compensation: number
  /** Values that searches of codes look at, once for all operands. */
  values: number
  /** Of all operands. */
  columns: number
}

export function amountsOf(graph: Graph, { coverage, images }: Pick<Work, 'coverage' | 'images'>): Amounts {
  const { macs } = costOf(graph)
  const { weights, activations } = findOperands(graph, coverage)
  const trial = macs * Math.min(images, trialImages(graph))
  return {
    passes: macs * images,
    trials: trial * (weights.length + activations.length),
    compensation: weights.reduce((sum, { elements, input }) => sum + elements * input.width, 0),
    values: activations.reduce((sum, { elements, width }) => sum + Math.min(SAMPLE_ROWS * width, elements * images), 0),
    columns: activations.reduce((sum, { width }) => sum + width, 0),
  }
}

type Costs = Partial<Amounts>

/**
 * Once before any codes; for widths; and each time that codes are found. Passes and trials in float passes, all else in seconds: measured on an AMD EPYC
 * (Zen 4) with two cores, on vision transformers of 48 to 192 channels and 16 to 64 images of 32 x 32, all within a factor of two.
 */
const COSTS: Record<Preset, Record<'prepare' | 'widths' | 'quantize', Costs>> = {
  best: {
    prepare: { passes: 14, columns: 7e-4 },
    widths: { compensation: 6e-9, values: 1.5e-7 },
    quantize: { passes: 37, compensation: 1e-8, values: 8e-8 },
  },
  mptq: {
    prepare: { passes: 6, columns: 4e-4 },
    widths: { trials: 4, columns: 3e-3 },
    quantize: { passes: 2, values: 5e-8, columns: 8e-4 },
  },
  tsptq: {
    prepare: { passes: 6, columns: 5e-5 },
    widths: {},
    quantize: { passes: 2, values: 5e-8, columns: 8e-4 },
  },
  minmax: {
    prepare: { passes: 2, columns: 5e-5 },
    widths: {},
    quantize: { passes: 2, values: 3e-8 },
  },
}

export function estimateSeconds(graph: Graph, work: Work, { secondsPerMac, slowdown }: Speed): number {
  const amounts = amountsOf(graph, work)
  const costs = COSTS[work.preset]
  const native = ({ passes = 0, trials = 0 }: Costs) => passes * amounts.passes + trials * amounts.trials
  const script = ({ compensation = 0, values = 0, columns = 0 }: Costs) =>
    compensation * amounts.compensation + values * amounts.values + columns * amounts.columns
  const seconds = (cost: Costs) => native(cost) * secondsPerMac + script(cost) * slowdown
  const search = seconds(costs.prepare) + (work.widths ? seconds(costs.widths) : 0) + work.quantizations * seconds(costs.quantize)
  return search + costOf(graph).macs * work.validated * (1 + work.quantizations) * secondsPerMac
}

const PROBE_IMAGES = 4

/** A float pass over a few of the images, memory and processor as in the middle of work, and a loop of a script. */
export async function measureSpeed(graph: Graph, calibration: Calibration, { threads, signal }: RunOptions): Promise<Speed> {
  const { pixels, images } = firstImages(calibration, PROBE_IMAGES)
  await prepareWeights(graph, null, signal)
  const session = new Session(lower(graph, null).plan, { threads })
  try {
    await session.run(pixels, images, { signal })
    const start = performance.now()
    await session.run(pixels, images, { signal })
    const secondsPerMac = (performance.now() - start) / 1000 / images / costOf(graph).macs
    return { secondsPerMac, slowdown: scriptSeconds() / REFERENCE_SCRIPT }
  } finally {
    session.dispose()
  }
}

/** Seconds of {@link scriptSeconds} on the machine of {@link COSTS}. */
const REFERENCE_SCRIPT = 2.7e-3

/** The fastest of a few loops over a million values: the others were disturbed, or not compiled yet. */
function scriptSeconds(): number {
  const values = new Float64Array(1 << 10).fill(0.5)
  let fastest = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 4; attempt++) {
    const start = performance.now()
    let sum = 0
    for (let round = 0; round < 1 << 10; round++) for (let i = 0; i < values.length; i++) sum += values[i] * (values[i] - sum)
    fastest = Math.min(fastest, performance.now() - start)
  }
  return fastest / 1000
}
