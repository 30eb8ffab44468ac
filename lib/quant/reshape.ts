import type { breather } from '../codes/breathe.js'
import type { Observation } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import { type Calibration, observe } from './observe.js'
import { findOperands } from './operands.js'
import { NOTHING } from './parts.js'
import { rotate, turnableStreams } from './rotate.js'
import { rotateHeads } from './rotate-heads.js'
import type { SearchOptions } from './search.js'
import { smooth } from './smooth.js'
import { splitChannels } from './split.js'
import { streamLosses, streamOperands, streamsThatGain } from './turn-streams.js'

/**
 * What is done to the float model before any code is searched: all of it computes what the model computes.
 */

type ReshapeOptions = Pick<SearchOptions, 'coverage' | 'without' | 'threads' | 'signal' | 'onProgress'>

/** A model with what was seen on its edges, and its logits. */
interface Reshaped {
  graph: Graph
  observations: Map<string, Observation>
  logits: Float32Array
}

/** The model turned, split and smoothed. */
export async function reshape(
  model: Graph,
  calibration: Calibration,
  breathe: ReturnType<typeof breather>,
  options: ReshapeOptions,
): Promise<Reshaped> {
  const { coverage, without = NOTHING } = options
  const { graph: turned, observations, logits } = await turn(model, calibration, breathe, options)
  const split = without.has('splitting') ? { graph: turned, observations } : splitChannels(turned, observations)
  const channels = findOperands(split.graph, coverage).activations
  const smoothed = without.has('smoothing') ? split : await smooth(split.graph, channels, split.observations, breathe, without)
  options.onProgress?.({ stage: 'smooth', done: 1, total: 1 })
  return { ...smoothed, logits }
}

/** The model with heads turned, and streams where that lowers losses. */
async function turn(
  model: Graph,
  calibration: Calibration,
  breathe: ReturnType<typeof breather>,
  { coverage, without = NOTHING, threads, signal, onProgress }: ReshapeOptions,
): Promise<Reshaped> {
  const run = { threads, signal }
  const withHeads = async (graph: Graph) => (without.has('head-rotation') ? graph : rotateHeads(graph, run))
  const all = (graph: Graph) => findOperands(graph, coverage).activations
  const seen = (graph: Graph, report = false) =>
    observe(graph, all(graph), calibration, {
      ...run,
      onProgress: report ? (done, total) => onProgress?.({ stage: 'observe', done, total }) : undefined,
    })
  const concerned = streamOperands(model, all(model))
  if (without.has('rotation') || concerned.length === 0) {
    const graph = await withHeads(model)
    return { graph, ...(await seen(graph, true)) }
  }
  const { observations } = await observe(model, concerned, calibration, run)
  const smoothed = !without.has('smoothing')
  const before = await streamLosses(model, concerned, observations, smoothed, breathe)
  const graph = await withHeads(await rotate(model, { ...run, observations }))
  const found = await seen(graph, true)
  const after = await streamLosses(graph, streamOperands(model, all(graph)), found.observations, smoothed, breathe)
  const gain = streamsThatGain(model, before, after)
  if (gain.size === turnableStreams(model).size) return { graph, ...found }
  const some = await withHeads(await rotate(model, { ...run, observations, streams: gain }))
  return { graph: some, ...(await seen(some)) }
}
