import type { breather } from '../codes/breathe.js'
import type { Observation } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import { type ActivationOperand, tensorOf } from './operands.js'
import { turnableStreams } from './rotate.js'
import { edgeLoss, roundingLoss } from './smooth.js'

/**
 * Which residual streams gain by a rotation (rotate.ts), told before any code is searched. What it changes most are roundings of what
 * LayerNorm writes together with the weights behind it, and with full coverage those of the stream itself. Losses of different edges are in
 * different units, so that their ratios count, each edge's alike: a stream is turned where the geometric mean of the ratios falls. Our
 * definition.
 */

/** By edge. */
export type StreamLosses = Map<string, number>

/**
 * Operands whose roundings a rotation changes: what LayerNorm writes behind streams that can be turned, and what of these streams is
 * stored.
 */
export function streamOperands(graph: Graph, operands: ActivationOperand[]): ActivationOperand[] {
  const concerned = new Set(
    [...turnableStreams(graph).values()].flatMap(({ edges, norms }) => [...edges, ...norms.map(({ output }) => output)]),
  )
  return operands.filter(({ name }) => concerned.has(name))
}

/**
 * @param operands of {@link streamOperands}
 * @param smoothed whether factors will move between channels
 */
export async function streamLosses(
  graph: Graph,
  operands: ActivationOperand[],
  observations: Map<string, Observation>,
  smoothed: boolean,
  breathe: ReturnType<typeof breather>,
): Promise<StreamLosses> {
  const losses: StreamLosses = new Map()
  for (const { name, readers } of operands) {
    const observation = observations.get(name) as Observation
    const weights = readers.map(({ weight }) => tensorOf(graph, weight))
    losses.set(
      name,
      weights.length > 0 ? await roundingLoss(weights, observation, smoothed, breathe) : await edgeLoss(observation, breathe),
    )
  }
  return losses
}

/** Streams of {@link turnableStreams} whose losses fall when they are turned. */
export function streamsThatGain(graph: Graph, before: StreamLosses, after: StreamLosses): Set<number> {
  const gain = new Set<number>()
  for (const [place, { edges, norms }] of turnableStreams(graph)) {
    const names = [...edges, ...norms.map(({ output }) => output)].filter((name) => before.has(name))
    const logarithms = names.map((name) => Math.log((after.get(name) as number) / (before.get(name) as number)))
    // Of an edge without any loss, before or after, nothing is known; one that would get its first, or lose all, decides alone.
    const change = logarithms.filter((each) => !Number.isNaN(each)).reduce((sum, each) => sum + each, 0)
    if (change < 0) gain.add(place)
  }
  return gain
}
