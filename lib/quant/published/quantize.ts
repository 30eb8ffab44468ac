import { breather } from '../../codes/breathe.js'
import type { NarrowStep } from '../../codes/narrow.js'
import type { Graph } from '../../graph/graph.js'
import type { Scheme } from '../../graph/scheme.js'
import { type Divergence, measureDivergence } from '../assemble.js'
import type { Calibration, RunOptions } from '../observe.js'
import { findOperands } from '../operands.js'
import type { Progress } from '../search.js'
import { CodeSearches, type Widths } from './code-searches.js'
import { allocateWidths, checkAverage, codeOf } from './mixed.js'
import { observeRead } from './observe.js'
import { outputInformation } from './output-information.js'
import { NARROWEST, PRESETS, type PublishedPart, type PublishedParts, type PublishedPreset, scalesOf } from './parts.js'
import { smoothNorms } from './sq-b.js'

export interface PublishedOptions extends Omit<RunOptions, 'onProgress'> {
  preset: PublishedPreset
  /** Default 'partial'. */
  coverage?: Scheme['coverage']
  /** Widths of all weights and of all activations, 2..8. */
  weightBits?: number
  activationBits?: number
  /** Instead: bound on the average of weights (by parameters) and on that of activations (by elements per image), separately; 3..8. */
  averageBits?: number
  /** Parts of the preset that are left out. */
  without?: readonly PublishedPart[]
  onProgress?: (progress: Progress) => void
}

export interface PublishedGraph extends Divergence {
  graph: Graph
  scheme: Scheme
  /** The steps of Greedy MP; empty without an average. */
  trajectory: NarrowStep[]
}

/** Where the search for an average begins. */
const WIDEST = 8

/**
 * TSPTQ-ViT and MPTQ-ViT as published, and the baseline that they are measured by: ideas of the papers alone, one scale for a tensor, every
 * layer calibrated on float inputs. The patch embedding has 8 bits (its weight a scale for each row, where scales are searched at all), and
 * so has what is never stored. What the papers leave open is our definition and stands where it is made.
 *
 * @throws Error for an average without Greedy MP, one that cannot be reached, and widths out of range
 */
export async function quantizeAsPublished(float: Graph, calibration: Calibration, options: PublishedOptions): Promise<PublishedGraph> {
  const { preset, coverage = 'partial', averageBits, signal, threads } = options
  const parts = new Set(PRESETS[preset].filter((part) => !options.without?.includes(part)))
  const widths = widthsOf(options, parts)
  if (averageBits !== undefined) checkAverage(float, coverage, averageBits)
  const breathe = breather(signal)
  const run = { threads, signal }
  const report = (stage: Progress['stage']) => (done: number, total: number) => options.onProgress?.({ stage, done, total })

  const operands = findOperands(float, coverage)
  const observed = await observeRead(float, operands.activations, calibration, { ...run, onProgress: report('observe') })
  const information = await outputInformation(float, operands, calibration, observed.logits, parts.has('fisher'), run)
  report('smooth')(0, 1)
  const { graph, observations } = parts.has('sq-b')
    ? await smoothNorms(float, operands, observed.observations, information, smoothedFor(options, widths), scalesOf(parts), breathe, run)
    : { graph: float, observations: observed.observations }
  report('smooth')(1, 1)

  const searches = new CodeSearches(graph, findOperands(graph, coverage), observations, information, parts, breathe, run)
  const start = await searches.scheme(coverage, ({ kind }) => (kind === 'weight' ? widths.weight : widths.activation), report('quantize'))
  const diverge = async (scheme: Scheme) => ({
    graph,
    scheme,
    ...(await measureDivergence({ graph, scheme }, calibration, observed.logits, run)),
  })
  if (averageBits === undefined) return { ...(await diverge(start)), trajectory: [] }
  const model = { graph, calibration, reference: observed.logits }
  const { scheme, trajectory } = await allocateWidths(searches, start, averageBits, model, { ...run, onProgress: report('measure') })
  // Codes were searched one by one while widths changed; at last all once more together.
  const [narrowed, again] = [await diverge(scheme), await diverge(await searches.scheme(coverage, (unit) => codeOf(scheme, unit).bits))]
  return { ...(again.divergence < narrowed.divergence ? again : narrowed), trajectory }
}

function widthsOf({ preset, weightBits, activationBits, averageBits }: PublishedOptions, parts: PublishedParts): Widths {
  if (averageBits !== undefined) {
    if (weightBits !== undefined || activationBits !== undefined) throw new TypeError('give either an average or widths, not both')
    if (!parts.has('greedy-mp'))
      throw new Error(`${preset} has one width for all without Greedy MP: take best for an average, or the whole of mptq`)
    if (!(averageBits >= NARROWEST && averageBits <= WIDEST))
      throw new RangeError(`the average must be from ${NARROWEST} to ${WIDEST} bits, not ${averageBits}`)
    return { weight: WIDEST, activation: WIDEST }
  }
  const widths = { weight: weightBits ?? WIDEST, activation: activationBits ?? WIDEST }
  for (const [what, bits] of Object.entries(widths)) {
    if (!(Number.isInteger(bits) && bits >= 2 && bits <= 8))
      throw new RangeError(`${what} bits must be an integer from 2 to 8, not ${bits}`)
  }
  return widths
}

/** Widths for which SQ-b's exponents are compared: of an average the nearest. */
function smoothedFor({ averageBits }: PublishedOptions, widths: Widths): Widths {
  return averageBits === undefined ? widths : { weight: Math.round(averageBits), activation: Math.round(averageBits) }
}
