import type { Observation } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import { columnImportance } from './choose.js'
import { fisher, signGradients } from './fisher.js'
import type { Calibration, RunOptions } from './observe.js'
import { type ActivationOperand, type Operands, tensorOf } from './operands.js'

/**
 * How much the predictions mind errors of each column of an edge: E[g^2], the Fisher information, or a stand-in. Gradients g have the second moments
 * of those of a log-likelihood at labels drawn from the model, and no label is drawn (signGradients, fisher.ts).
 */
export interface Information {
  /** [width of the edge]; null for what softmax reads, whose gradients stay in registers */
  columns(operand: ActivationOperand): ArrayLike<number> | null
  /** [outputs] of a linear layer */
  outputs(edge: string): Float64Array
}

/** Draws of gradients: their second moments settle quickly. */
const DRAWS = 2

/** @param logits of the graph on the calibration images */
export async function measureInformation(
  graph: Graph,
  { activations, weights }: Operands,
  calibration: Calibration,
  logits: Float32Array,
  options: RunOptions,
): Promise<Information> {
  const patches = new Set(graph.nodes.flatMap((node) => (node.op === 'patchify' ? [node.output] : [])))
  const edges = activations.filter(({ kind, name }) => kind !== 'logits' && !patches.has(name)).map(({ name }) => name)
  const all = [...new Set([...edges, ...weights.map(({ node }) => node.output)])]
  const found = await fisher(graph, calibration, all, { ...options, logits, draws: DRAWS, seeds: signGradients })
  const outputs = (edge: string) => (found.get(edge) as { meanSquare: Float64Array }).meanSquare
  // In front of the patches there are no gradients: there, what the layers behind make of an error counts.
  const behind = ({ kind, width, readers }: ActivationOperand) => {
    if (kind === 'logits') return null
    const sum = new Float64Array(width)
    for (const { weight, output } of readers) {
      const { data } = tensorOf(graph, weight)
      const rows = outputs(output)
      for (let i = 0; i < data.length; i++) sum[i % width] += rows[Math.floor(i / width)] * data[i] ** 2
    }
    return sum
  }
  return { outputs, columns: (operand) => found.get(operand.name)?.meanSquare ?? behind(operand) }
}

/** Where gradients are not asked for: errors count by what they add to the output of the product that reads them, all outputs alike. */
export function outputErrors(graph: Graph, observations: Map<string, Observation>): Information {
  const meanSquare = (edge: string) => (observations.get(edge) as Observation).meanSquare
  return {
    columns: (operand) => columnImportance(graph, operand, meanSquare),
    outputs: (edge) => new Float64Array(graph.edges.get(edge)?.width as number).fill(1),
  }
}
