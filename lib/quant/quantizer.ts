import type { NarrowStep } from '../codes/narrow.js'
import type { Graph } from '../graph/graph.js'
import { isStored } from '../graph/operands.js'
import type { Scheme } from '../graph/scheme.js'
import type { Unit } from './assemble.js'
import type { Calibration } from './observe.js'
import { averageBesideFine, findOperands } from './operands.js'
import type { Part, Without } from './parts.js'
import { type AnyPart, type Preset, partsOf } from './presets.js'
import type { PublishedPart } from './published/parts.js'
import { quantizeAsPublished } from './published/quantize.js'
import { type DamageStore, type Progress, type QuantizedGraph, Search, widthsTried } from './search.js'

/**
 * A model and its calibration images, ready to be quantized with any preset and any widths.
 */

/**
 * Of all weights and of all activations, 2..8; or bounds on the averages of both, with `among` only that of weights (see Widths in
 * search.ts).
 */
export type PublicWidths = { weightBits: number; activationBits: number } | { averageBits: number; among?: Record<string, number[]> }

export type Allocation = 'knapsack' | 'greedy' | 'even'

export interface QuantizerOptions {
  preset: Preset
  coverage: Scheme['coverage']
  /**
   * Only with `best`: how an average is spread. By the damage that narrower codes do, with the least sum of it ('knapsack', the default),
   * or step by step where a bit does least ('greedy', as MPTQ-ViT does); or 'even', which takes the two nearest widths, the narrower one
   * for the largest operands, without looking at the data and is meant for timing random weights.
   */
  allocation?: Allocation
  /** Parts of the preset that are left out. */
  without?: readonly AnyPart[]
  /** Only with `best`, which measures damages. */
  store?: DamageStore
  threads?: number
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

/** What the average of activations beside fine rows has to exceed the narrowest width by. In images of few patches these rows are dear. */
const LEAST_ROOM = 0.25

/** Without a look at the data for widths, the rest is not worth its time. */
const FOR_TIMES: Part[] = ['allocation', 'fisher', 'sequence', 'compensation']

/** Parts of the preset that are left out, those among them that `allocation` does without. */
export function leftOut({ preset, allocation, without = [] }: Pick<QuantizerOptions, 'preset' | 'allocation' | 'without'>) {
  const asked: readonly AnyPart[] = [...without, ...(allocation === 'even' ? FOR_TIMES : [])]
  return partsOf(preset).filter((part) => asked.includes(part))
}

export interface QuantizedModel extends QuantizedGraph {
  /** The steps of Greedy MP (see narrow.ts) in their order; empty for all but `mptq` with an average. */
  trajectory: NarrowStep[]
}

export type Quantizer = (widths: PublicWidths) => Promise<QuantizedModel>

/** @returns a function of the widths; what `best` measures once for all of them is measured when the first are asked for */
export function quantizerOf(float: Graph, calibration: Calibration, options: QuantizerOptions): Quantizer {
  const { preset, coverage, allocation, without: _, store, ...run } = options
  const left = leftOut(options)
  if (preset !== 'best') {
    return async (widths) => {
      const published = await quantizeAsPublished(float, calibration, {
        preset,
        without: left as PublishedPart[],
        coverage,
        ...widths,
        ...run,
      })
      return { ...published, float: published.graph }
    }
  }
  const without: Without = new Set(left as Part[])
  let search: { fineFirst: boolean; prepared: Promise<Search> } | undefined
  return async (widths) => {
    const fineFirst = hasFineFirst(float, coverage, without, widths)
    if (search?.fineFirst !== fineFirst) {
      const prepared = Search.prepare(float, calibration, { ...run, without, greedy: allocation === 'greedy', store, coverage, fineFirst })
      search = { fineFirst, prepared }
    }
    const prepared = await search.prepared
    const given = 'averageBits' in widths ? widths : ({ kind }: Unit) => (kind === 'weight' ? widths.weightBits : widths.activationBits)
    return { ...(await prepared.quantize(given)), trajectory: [] }
  }
}

/** Where widths are chosen, first rows are fine: not for times, nor where activations are bytes anyway. */
function hasFineFirst(float: Graph, coverage: Scheme['coverage'], without: Without, widths: PublicWidths): boolean {
  if (!('averageBits' in widths) || widths.among || without.has('allocation') || without.has('class-token')) return false
  const stored = findOperands(float, coverage, true).activations.filter((operand) => isStored(operand))
  if (!stored.some((operand) => operand.fineFirst)) return false
  const narrowest = Math.min(...widthsTried(widths.averageBits))
  return averageBesideFine(stored, widths.averageBits) >= narrowest + LEAST_ROOM
}
