import { prepareWeights } from '../graph/constants.js'
import { costOf } from '../graph/cost.js'
import type { Graph } from '../graph/graph.js'
import { lower } from '../graph/lower.js'
import { isStored } from '../graph/operands.js'
import type { Scheme } from '../graph/scheme.js'
import { Session } from '../runtime/session.js'
import { kindsOf } from './kinds.js'
import { type Calibration, firstImages, type RunOptions, SAMPLE_ROWS } from './observe.js'
import { findOperands } from './operands.js'
import { type AnyPart, type Preset, partsOf } from './presets.js'
import { trialImages } from './published/mixed.js'
import { fittedImages } from './search.js'
import { IMAGES as DRAWN_IMAGES } from './stream-rows.js'

/**
 * How long a search will take, roughly: counts of what its parts do, at the seconds that one machine took for them, times how much slower
 * this one is.
 */

export interface Work {
  preset: Preset
  coverage: Scheme['coverage']
  /** Parts of the preset that are left out. */
  without: ReadonlySet<AnyPart>
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
  /** Multiply-adds of runs in which the kinds of operands are measured beside each other. */
  kinds: number
  /** Multiply-adds of the runs, half a pass for each edge of the residual stream, and gradients, for which its rows are drawn. */
  drawn: number
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
  const streams = activations.filter(({ kind }) => kind === 'residual').length
  return {
    passes: macs * images,
    trials: trial * (weights.length + activations.length),
    kinds: macs * images * (1 + kindsOf(activations.filter(isStored)).length),
    drawn: streams > 0 ? macs * Math.min(fittedImages(images), DRAWN_IMAGES) * (GRADIENT_PASSES + streams / 2) : 0,
    compensation: weights.reduce((sum, { elements, input }) => sum + elements * input.width, 0),
    values: activations.reduce((sum, { elements, width }) => sum + Math.min(SAMPLE_ROWS * width, elements * images), 0),
    columns: activations.reduce((sum, { width }) => sum + width, 0),
  }
}

/** Of a draw of gradients. */
const GRADIENT_PASSES = 4

/**
 * All amounts of {@link Amounts} that are multiply-adds are in float passes' time, the others in seconds. `of`: where all of these parts
 * are there.
 */
type Costs = Partial<Amounts> & { of?: AnyPart[] }

/**
 * Once before any codes; for widths; each time that codes are found; each time that they are found in sequence; and once for all sequences.
 * Measured on an AMD EPYC (Zen 4) with two cores, on vision transformers of 48 to 384 channels and 16 to 64 images of 32 x 32 and 224 x
 * 224, all within a factor of two. Parts that are not named take little time.
 */
const COSTS: Record<'best' | 'published', Record<'prepare' | 'widths' | 'quantize' | 'sequence' | 'rows', Costs[]>> = {
  best: {
    prepare: [
      { passes: 6, columns: 5e-5 },
      { of: ['smoothing'], columns: 2.2e-4 },
      { of: ['fisher'], passes: 8 },
      { of: ['stream-rows'], drawn: 1 },
    ],
    widths: [
      { values: 5e-8, kinds: 1 },
      { of: ['class-token'], passes: 1 },
      { of: ['o2sf'], values: 7e-8 },
      { of: ['compensation'], compensation: 4e-10 },
      { of: ['compensation', 'row-steps', 'descent'], compensation: 2e-9 },
    ],
    quantize: [
      { passes: 1, values: 6e-8 },
      { of: ['o2sf'], values: 3e-8 },
      { of: ['compensation'], compensation: 4e-10 },
      { of: ['compensation', 'row-steps', 'descent'], compensation: 2e-9 },
    ],
    sequence: [
      { of: ['sequence'], passes: 10, values: 1.2e-7 },
      { of: ['sequence', 'compensation'], compensation: 4e-10 },
      { of: ['sequence', 'compensation', 'row-steps', 'descent'], compensation: 2e-9 },
      { of: ['sequence', 'refit'], compensation: 1.3e-9 },
    ],
    rows: [{ of: ['sequence', 'row-sensitivity'], passes: 8 }],
  },
  published: {
    prepare: [
      { passes: 2, columns: 5e-5 },
      { of: ['fisher'], passes: 4 },
      { of: ['sq-b'], columns: 3.5e-4 },
    ],
    widths: [{ of: ['greedy-mp'], trials: 4, columns: 3e-3 }],
    quantize: [
      { passes: 2, values: 3e-8 },
      { of: ['search'], values: 2e-8, columns: 8e-4 },
    ],
    sequence: [],
    rows: [],
  },
}

/**
 * Codes in sequence, which are tried where some images are left to judge them, are taken to be kept, and so to be found once more on all.
 */
export function estimateSeconds(graph: Graph, work: Work, { secondsPerMac, slowdown }: Speed): number {
  const { preset, coverage, images, quantizations, without } = work
  const costs = COSTS[preset === 'best' ? 'best' : 'published']
  const parts = partsOf(preset).filter((part) => !without.has(part))
  const seconds = (step: keyof typeof costs, count = images) => {
    const amounts = amountsOf(graph, { coverage, images: count })
    const native = ({ passes = 0, trials = 0, kinds = 0, drawn = 0 }: Costs) =>
      passes * amounts.passes + trials * amounts.trials + kinds * amounts.kinds + drawn * amounts.drawn
    const script = ({ compensation = 0, values = 0, columns = 0 }: Costs) =>
      compensation * amounts.compensation + values * amounts.values + columns * amounts.columns
    const there = costs[step].filter(({ of = [] }) => of.every((part) => parts.includes(part)))
    return there.reduce((sum, cost) => sum + native(cost) * secondsPerMac + script(cost) * slowdown, 0)
  }
  const fitted = fittedImages(images)
  const sequence = fitted < images ? seconds('sequence', fitted) + seconds('sequence') : 0
  const rows = fitted < images ? seconds('rows') : 0
  const search = seconds('prepare') + rows + (work.widths ? seconds('widths') : 0) + quantizations * (seconds('quantize') + sequence)
  return search + costOf(graph).macs * work.validated * (1 + quantizations) * secondsPerMac
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
