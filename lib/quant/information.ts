import type { Observation } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import { columnImportance } from './choose.js'
import { fisher, signGradients } from './fisher.js'
import type { GradientStatistics, Sampling } from './gradients.js'
import type { Calibration, RunOptions } from './observe.js'
import { type ActivationOperand, fineElements, type Operands, tensorOf } from './operands.js'

/**
 * How much the predictions mind errors of each column of an edge: E[g^2], the Fisher information, or a stand-in. Gradients g have the
 * second moments of those of a log-likelihood at labels drawn from the model, and no label is drawn (signGradients, fisher.ts).
 */
export interface Information {
  /** [width of the edge]; null for what softmax reads, whose gradients stay in registers */
  columns(operand: ActivationOperand): ArrayLike<number> | null
  /** [outputs] of a linear layer */
  outputs(edge: string): Float64Array
}

/** Draws of gradients: their second moments settle quickly. */
const DRAWS = 2

/**
 * Of E[g^2] over all rows: what other rows than the first have at least. In the last layer some are read by nothing, and what is left of a
 * difference is rounding.
 */
const LEAST_SHARE = 1e-6

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
  const fine = activations.filter(({ fineFirst, name }) => fineFirst && edges.includes(name))
  const samples = new Map(fine.map((operand) => [operand.name, firstRows(operand, calibration.images)]))
  const found = await fisher(graph, calibration, all, { ...options, logits, draws: DRAWS, seeds: signGradients, samples })
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
  const columns = (operand: ActivationOperand) => {
    const own = found.get(operand.name)
    if (!own) return behind(operand)
    return operand.fineFirst ? withoutFirstRows(own, operand.elements / fineElements(operand)) : own.meanSquare
  }
  return { outputs, columns }
}

/** Each first row of an image, of probabilities that of each head. */
function firstRows(operand: ActivationOperand, images: number): Sampling {
  const fine = fineElements(operand)
  return { sampleRows: (images * fine) / operand.width, sampleStride: operand.elements / fine }
}

/**
 * E[g^2] over the other rows: the predictions mind errors of the first, the class token, far more, and as it is fine they do not count for
 * a code.
 *
 * @param samples gradients of first rows
 * @param rows of which one is a first row
 */
function withoutFirstRows({ meanSquare, samples }: GradientStatistics, rows: number): Float64Array {
  const width = meanSquare.length
  const first = new Float64Array(width)
  const count = samples.reduce((sum, { length }) => sum + length / width, 0)
  for (const gradients of samples) for (let i = 0; i < gradients.length; i++) first[i % width] += gradients[i] ** 2 / count
  return meanSquare.map((square, c) => Math.max(LEAST_SHARE * square, (rows * square - first[c]) / (rows - 1)))
}

/** Where gradients are not asked for: errors count by what they add to the output of the product that reads them, all outputs alike. */
export function outputErrors(graph: Graph, observations: Map<string, Observation>): Information {
  const meanSquare = (edge: string) => (observations.get(edge) as Observation).meanSquare
  return {
    columns: (operand) => columnImportance(graph, operand, meanSquare),
    outputs: (edge) => new Float64Array(graph.edges.get(edge)?.width as number).fill(1),
  }
}
