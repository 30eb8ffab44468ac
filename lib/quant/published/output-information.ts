import type { Graph } from '../../graph/graph.js'
import { fisher } from '../fisher.js'
import type { Calibration, RunOptions } from '../observe.js'
import type { Operands } from '../operands.js'

/**
 * By edge the weights of squared errors of its columns: the Fisher information, from labels drawn from the float model's predictions, of
 * what linear layers write and of what no linear layer reads. (The gradient of the published code, of the divergence from the model to
 * itself, is zero by construction.)
 */
export type OutputInformation = (edge: string, width: number) => ArrayLike<number>

const DRAWS = 2

/** @param informed false: all columns alike */
export async function outputInformation(
  graph: Graph,
  { activations, weights }: Operands,
  calibration: Calibration,
  logits: Float32Array,
  informed: boolean,
  options: RunOptions,
): Promise<OutputInformation> {
  if (!informed) return (_, width) => new Float64Array(width).fill(1)
  const others = activations.filter(({ kind, readers }) => readers.length === 0 && kind !== 'logits').map(({ name }) => name)
  const edges = [...new Set([...weights.map(({ node }) => node.output), ...others])]
  const found = await fisher(graph, calibration, edges, { ...options, logits, draws: DRAWS })
  return (edge, width) => found.get(edge)?.meanSquare ?? new Float64Array(width).fill(1)
}
