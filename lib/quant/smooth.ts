import type { breather } from '../codes/breathe.js'
import { Histogram } from '../codes/histogram.js'
import type { Observation } from '../codes/observation.js'
import { searchSymmetric } from '../codes/search.js'
import { searchRow } from '../codes/weights.js'
import type { Graph, Node, Tensor } from '../graph/graph.js'
import { type ActivationOperand, type LinearNode, tensorOf } from './operands.js'

/**
 * SQ-b (MPTQ-ViT): SmoothQuant with a bias, folded into each LayerNorm and the linear layers that read it.
 *
 *   ((Y - mu) / eps) (W diag(eps))^T + (b + W mu)  =  Y W^T + b
 *
 * mu_j is the mean of channel j, eps_j = R_j^a / max_o |W_oj|^(1-a) with R_j = max_t |Y_tj - mu_j| (SmoothQuant's factor; the exponent is our
 * search). The float model is unchanged; nothing is added at run time.
 */

/** 0.5 is SmoothQuant's default; the exponent with the least error of the layer's output at REFERENCE_BITS wins. */
const EXPONENTS = [0.25, 0.4, 0.5, 0.6, 0.75]
const REFERENCE_BITS = 4
/** Weight rows looked at when exponents are compared. */
const ROWS_COMPARED = 64

interface Fold {
  shift: Float64Array
  factor: Float64Array
}

export interface Smoothed {
  graph: Graph
  observations: Map<string, Observation>
}

type LayerNormNode = Extract<Node, { op: 'layernorm' }>

export async function smooth(
  graph: Graph,
  operands: ActivationOperand[],
  observations: Map<string, Observation>,
  breathe: ReturnType<typeof breather>,
): Promise<Smoothed> {
  const norms = new Map(
    graph.nodes.filter((node): node is LayerNormNode => node.op === 'layernorm').map((node) => [node.output, node]),
  )
  const constants = new Map(graph.constants)
  const nodes = graph.nodes.map((node) => ({ ...node }))
  const smoothed: Smoothed = { graph: { ...graph, nodes, constants }, observations: new Map(observations) }
  for (const operand of operands) {
    const norm = norms.get(operand.name)
    const observation = observations.get(operand.name)
    if (!norm || !observation || operand.readers.length === 0) continue
    const fold = await searchFold(graph, operand.readers, observation, breathe)
    foldNorm(smoothed.graph, norm, fold)
    for (const reader of operand.readers) foldLinear(smoothed.graph, reader, fold)
    smoothed.observations.set(operand.name, foldObservation(observation, fold))
  }
  return smoothed
}

async function searchFold(
  graph: Graph,
  readers: LinearNode[],
  observation: Observation,
  breathe: ReturnType<typeof breather>,
): Promise<Fold> {
  const weights = readers.map((reader) => tensorOf(graph, reader.weight))
  let best: Fold = { shift: observation.mean, factor: new Float64Array(observation.width).fill(1) }
  let bestLoss = await foldLoss(weights, observation, best, breathe)
  for (const exponent of EXPONENTS) {
    const fold: Fold = { shift: observation.mean, factor: smoothingFactor(weights, observation, exponent) }
    const loss = await foldLoss(weights, observation, fold, breathe)
    if (loss < bestLoss) {
      bestLoss = loss
      best = fold
    }
  }
  return best
}

/** eps_j; 1 for a channel that is constant over calibration. */
function smoothingFactor(weights: Tensor[], observation: Observation, exponent: number): Float64Array {
  const { width, mean, min, max } = observation
  const largest = new Float64Array(width)
  for (const { data } of weights) {
    for (let i = 0; i < data.length; i++) largest[i % width] = Math.max(largest[i % width], Math.abs(data[i]))
  }
  return Float64Array.from({ length: width }, (_, j) => {
    const reach = Math.max(max[j] - mean[j], mean[j] - min[j])
    if (reach <= 0) return 1
    return Math.max(1e-5, reach ** exponent / Math.max(1e-5, largest[j]) ** (1 - exponent))
  })
}

/** Expected squared error of the layers' outputs per row, from quantized inputs plus from quantized weights, errors taken as uncorrelated. */
async function foldLoss(
  weights: Tensor[],
  observation: Observation,
  fold: Fold,
  breathe: ReturnType<typeof breather>,
): Promise<number> {
  const { width } = observation
  const folded = foldObservation(observation, fold)
  const energy = new Float64Array(width)
  let weightLoss = 0
  for (const { shape, data } of weights) {
    const stride = Math.max(1, Math.floor(shape[0] / ROWS_COMPARED))
    let compared = 0
    let loss = 0
    for (let o = 0; o < shape[0]; o++) {
      const row = data.slice(o * width, (o + 1) * width)
      for (let j = 0; j < width; j++) {
        row[j] *= fold.factor[j]
        energy[j] += row[j] * row[j]
      }
      if (o % stride) continue
      compared++
      loss += searchRow(row, folded.meanSquare, REFERENCE_BITS).loss
      await breathe()
    }
    weightLoss += (loss * shape[0]) / compared
  }
  const histogram = new Histogram(folded, energy)
  await breathe()
  return weightLoss + searchSymmetric(histogram, REFERENCE_BITS).loss / (folded.samples.length / width)
}

function foldNorm(graph: Graph, norm: LayerNormNode, { shift, factor }: Fold): void {
  const gamma = tensorOf(graph, norm.gamma)
  const beta = tensorOf(graph, norm.beta)
  graph.constants.set(norm.gamma, { shape: gamma.shape, data: gamma.data.map((g, j) => g / factor[j]) })
  graph.constants.set(norm.beta, { shape: beta.shape, data: beta.data.map((b, j) => (b - shift[j]) / factor[j]) })
}

function foldLinear(graph: Graph, reader: LinearNode, { shift, factor }: Fold): void {
  const weight = tensorOf(graph, reader.weight)
  const [outputs, inputs] = weight.shape
  const bias = reader.bias === null ? new Float32Array(outputs) : tensorOf(graph, reader.bias).data
  const shifted = bias.map((b, o) => {
    let sum = b
    for (let j = 0; j < inputs; j++) sum += weight.data[o * inputs + j] * shift[j]
    return sum
  })
  const node = graph.nodes.find((candidate): candidate is LinearNode => candidate.name === reader.name) as LinearNode
  node.bias = reader.bias ?? `${reader.name}.bias`
  graph.constants.set(node.bias, { shape: [outputs], data: shifted })
  graph.constants.set(reader.weight, {
    shape: weight.shape,
    data: weight.data.map((w, i) => w * factor[i % inputs]),
  })
}

function foldObservation(observation: Observation, { shift, factor }: Fold): Observation {
  const { width, mean, meanSquare, min, max, samples } = observation
  return {
    ...observation,
    mean: mean.map((m, j) => (m - shift[j]) / factor[j]),
    meanSquare: meanSquare.map((s, j) => Math.max(0, s - 2 * shift[j] * mean[j] + shift[j] ** 2) / factor[j] ** 2),
    min: min.map((x, j) => (x - shift[j]) / factor[j]),
    max: max.map((x, j) => (x - shift[j]) / factor[j]),
    samples: samples.map((x, i) => (x - shift[i % width]) / factor[i % width]),
  }
}
