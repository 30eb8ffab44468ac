import { meanDivergence } from '../../codes/divergence.js'
import { checkReachable, type NarrowStep, type NarrowUnit, narrow } from '../../codes/narrow.js'
import { costOf } from '../../graph/cost.js'
import type { Graph } from '../../graph/graph.js'
import { isStored } from '../../graph/operands.js'
import type { Code, Scheme, WeightCode } from '../../graph/scheme.js'
import type { Unit } from '../assemble.js'
import { runGraph } from '../evaluate.js'
import { type Calibration, firstImages, type RunOptions } from '../observe.js'
import { findOperands } from '../operands.js'
import { type CodeSearches, FIXED_BITS, isFixed } from './code-searches.js'
import { NARROWEST } from './parts.js'

/**
 * Greedy MP (MPTQ-ViT) on a model: every stored operand is a unit, weights and activations apart; a code is searched again whenever its
 * width changes, with those of the others as they are. The divergence is measured on a few calibration images, by quantized models that
 * run.
 */

/**
 * Images whose predictions are compared, 32 at most, and only as many as this many multiplications allow: one measurement is about a fifth
 * of a second.
 */
const IMAGES = 32
const MULTIPLICATIONS = 1.4e10

export const trialImages = (graph: Graph): number => Math.min(IMAGES, Math.max(1, Math.floor(MULTIPLICATIONS / costOf(graph).macs)))

/** @throws RangeError for an average that not even the narrowest widths hold */
export function checkAverage(graph: Graph, coverage: Scheme['coverage'], average: number): void {
  const { weights, activations } = findOperands(graph, coverage)
  const units = [...weights, ...activations].filter(isStored).map((unit) => narrowUnit(graph, unit, FIXED_BITS))
  checkReachable(units, { average, least: NARROWEST })
}

function narrowUnit(graph: Graph, unit: Unit, bits: number): NarrowUnit {
  const { kind, name, elements } = unit
  return { name, kind: kind === 'weight' ? 'weight' : 'activation', elements, bits, fixed: isFixed(graph, unit) }
}

/** @param scheme where the search starts: the codes that stand in the searches */
export async function allocateWidths(
  searches: CodeSearches,
  scheme: Scheme,
  average: number,
  model: { graph: Graph; calibration: Calibration; reference: Float32Array },
  options: RunOptions,
): Promise<{ scheme: Scheme; trajectory: NarrowStep[] }> {
  const stored = searches.units.filter(isStored)
  const units = stored.map((unit) => narrowUnit(model.graph, unit, codeOf(scheme, unit).bits))
  const { images, pixels } = firstImages(model.calibration, trialImages(model.graph))
  const reference = model.reference.subarray(0, (model.reference.length / model.calibration.images) * images)
  const measure = async (tried: Scheme): Promise<number> => {
    const logits = await runGraph(model.graph, tried, pixels, images, options)
    return meanDivergence(reference, logits, logits.length / images)
  }
  const chosen = copyOf(scheme)
  const narrower = new Map<Unit, Code | WeightCode>()
  const startDivergence = await measure(scheme)
  const alone = async (u: number, bits: number): Promise<number> => {
    const unit = stored[u]
    if (bits === units[u].bits) return startDivergence
    const code = await searches.search(unit, bits)
    narrower.set(unit, code)
    return measure(withCode(copyOf(scheme), unit, code))
  }
  const together = async (u: number): Promise<number> => {
    const code = narrower.get(stored[u]) as Code | WeightCode
    searches.choose(stored[u], code)
    return measure(withCode(chosen, stored[u], code))
  }
  const total = units.reduce((bits, unit) => bits + (unit.fixed ? 0 : Math.max(0, unit.bits - average)), 0)
  let steps = 0
  const onStep = () => options.onProgress?.(Math.min(++steps, total), total)
  const { trajectory } = await narrow(units, { average, least: NARROWEST, alone, together, onStep })
  options.onProgress?.(total, total)
  return { scheme: chosen, trajectory }
}

const copyOf = (scheme: Scheme): Scheme => ({ ...scheme, weights: new Map(scheme.weights), edges: new Map(scheme.edges) })

export const codeOf = (scheme: Scheme, { kind, name }: Unit): Code | WeightCode =>
  (kind === 'weight' ? scheme.weights.get(name) : scheme.edges.get(name)) as Code | WeightCode

function withCode(scheme: Scheme, { kind, name }: Unit, code: Code | WeightCode): Scheme {
  if (kind === 'weight') scheme.weights.set(name, code as WeightCode)
  else scheme.edges.set(name, code as Code)
  return scheme
}
