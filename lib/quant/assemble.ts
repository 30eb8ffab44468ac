import { divergences, logitDistances, meanAndSpread } from '../codes/divergence.js'
import type { Graph } from '../graph/graph.js'
import type { Scheme } from '../graph/scheme.js'
import { correctBias } from './bias.js'
import type { Candidates } from './candidates.js'
import { runGraph } from './evaluate.js'
import type { Calibration, RunOptions } from './observe.js'
import type { ActivationOperand, WeightOperand } from './operands.js'

/** An operand whose width is chosen. */
export type Unit = WeightOperand | ActivationOperand

/**
 * The quantized model in which unit u has bits[u] bits.
 *
 * @param onProgress told how many units have their codes, after each
 */
export async function assemble(
  graph: Graph,
  units: Unit[],
  bits: number[],
  candidates: Candidates,
  coverage: Scheme['coverage'],
  onProgress?: (done: number) => void,
): Promise<{ graph: Graph; scheme: Scheme }> {
  const scheme: Scheme = { weights: new Map(), edges: new Map(), coverage }
  const quantized: Graph = { ...graph, nodes: graph.nodes.map((node) => ({ ...node })), constants: new Map(graph.constants) }
  for (let u = 0; u < units.length; u++) {
    const unit = units[u]
    if (unit.kind === 'weight') {
      const { code, meanError } = await candidates.weight(unit, bits[u])
      scheme.weights.set(unit.name, code)
      correctBias(quantized, graph, unit.node, meanError)
    } else scheme.edges.set(unit.name, (await candidates.activation(unit, bits[u])).code)
    onProgress?.(u + 1)
  }
  return { graph: quantized, scheme }
}

/** How far the quantized model's predictions are from the float model's on the calibration images. */
export interface Divergence {
  /** Mean KL divergence from the float model's predictions, nats. */
  divergence: number
  /** Its standard deviation from image to image, nats; 0 for a single image. */
  spread: number
}

/** @returns with the distance of each image's logits from the float model's ({@link logitDistances}), in their order */
export async function measureDivergence(
  quantized: { graph: Graph; scheme: Scheme },
  calibration: Calibration,
  reference: Float32Array,
  options: RunOptions,
): Promise<Divergence & { distances: Float64Array }> {
  const logits = await runGraph(quantized.graph, quantized.scheme, calibration.pixels, calibration.images, options)
  const classes = logits.length / calibration.images
  const { mean, spread } = meanAndSpread(divergences(reference, logits, classes))
  return { divergence: Math.max(mean, 0), spread, distances: logitDistances(reference, logits, classes) }
}
