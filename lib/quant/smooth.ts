import type { breather } from '../codes/breathe.js'
import { Histogram } from '../codes/histogram.js'
import { everyNthRow, type Observation } from '../codes/observation.js'
import { searchCodebook, searchUniform } from '../codes/search.js'
import { searchRow } from '../codes/weights.js'
import type { Edge, Graph, Node, NodeOf, Tensor } from '../graph/graph.js'
import { type ActivationOperand, type LinearNode, tensorOf } from './operands.js'
import { NOTHING } from './parts.js'

/**
 * SQ-b (MPTQ-ViT) and RepQ-ViT in one search: channels are shifted and divided by factors, which is folded into each LayerNorm and the
 * linear layers that read it.
 *
 *   ((Y - mu) / eps) (W diag(eps))^T + (b + W mu)  =  Y W^T + b
 *
 * mu_j is the mean of channel j (SQ-b) or the middle of its range (RepQ-ViT), eps_j = R_j^a / max_o |W_oj|^(1-a) with R_j = max_t |Y_tj -
 * mu_j| (SmoothQuant's factor). With a = 1 and the middle of the range all channels have one range and one zero point, which is RepQ-ViT:
 * its factors are R_j over the mean of R, and what all channels have in common is the step's. The float model is unchanged; nothing is
 * added at run time.
 *
 * The same factors, without a shift, are applied behind GELU, where they become a multiplication that is fused into the layer before it,
 * and before the projection of attention, where they move into the rows of the value layer: there a few channels reach a hundred times as
 * far as the others, too. Both are our addition. (Values less their mean would give the same attention, but quantize worse at few bits.)
 */

/**
 * 0.5 is SmoothQuant's default; reach and largest weight (SmoothQuant's) or root mean squares. The least product of errors at
 * REFERENCE_BITS wins.
 */
const EXPONENTS = [0.4, 0.5, 0.6, 0.75]
/** For factors of the reach alone, or nearly so. */
const REPQ_EXPONENTS = [0.75, 1]
const MEASURES = ['reach', 'rms'] as const
/** Widths at which factors are compared: a code of few levels may leave gaps where nothing lies, one of 8 bits takes the whole byte. */
const REFERENCE_BITS = [4, 5, 8]
/** Rows of weights and of samples looked at when factors are compared. */
const ROWS_COMPARED = 64
const SAMPLES_COMPARED = 1024
/** What compensation leaves of the error of plainly rounded weights, about. */
const COMPENSATED = 0.5

/**
 * Rows by which reaches are known at all: with fewer (one an image is what a head reads) factors would follow them, and other images be
 * clipped.
 */
export const FEWEST_ROWS = 32

/** A channel that departs from its shift by no more than this much of its mean is constant: the rest is rounding. */
const CONSTANT = 1e-6

/** Y becomes (Y - shift) / factor, column by column. */
export interface Fold {
  shift: Float64Array
  factor: Float64Array
}

export interface Smoothed {
  graph: Graph
  observations: Map<string, Observation>
}

export async function smooth(
  float: Graph,
  operands: ActivationOperand[],
  observations: Map<string, Observation>,
  breathe: ReturnType<typeof breather>,
  without = NOTHING,
): Promise<Smoothed> {
  const repq = !without.has('repq')
  const graph: Graph = {
    ...float,
    nodes: float.nodes.map((node) => ({ ...node })),
    edges: new Map(float.edges),
    constants: new Map(float.constants),
  }
  const folded = new Map(observations)
  for (const { name, readers } of operands) {
    const producer = graph.nodes.find(({ output }) => output === name)
    const observation = folded.get(name)
    if (!producer || !observation || readers.length === 0 || observation.count < FEWEST_ROWS) continue
    const weights = readers.map((reader) => tensorOf(graph, reader.weight))
    if (producer.op === 'layernorm') {
      const fold = await searchFold(weights, observation, observation.mean, repq, breathe)
      foldNorm(graph, producer, fold)
      for (const reader of readers) foldLinear(graph, reader, fold)
      folded.set(name, await foldObservation(observation, fold, breathe))
    } else if (producer.op === 'gelu') {
      const fold = await searchFold(weights, observation, null, repq, breathe)
      insertScale(graph, producer, fold)
      for (const reader of readers) foldLinear(graph, reader, fold)
      folded.set(name, await foldObservation(observation, fold, breathe))
    } else if (producer.op === 'attention') {
      const value = graph.nodes.find((node): node is NodeOf<'linear'> => node.op === 'linear' && node.output === producer.v)
      const values = folded.get(producer.v)
      if (!value || !values) continue
      const fold = await searchFold(weights, observation, null, repq, breathe)
      foldOutputs(graph, value, fold)
      for (const reader of readers) foldLinear(graph, reader, fold)
      folded.set(name, await foldObservation(observation, fold, breathe))
      folded.set(producer.v, await foldObservation(values, fold, breathe))
    }
  }
  return { graph, observations: folded }
}

/**
 * @param mean what is subtracted of each channel, or null where nothing can be
 * @param repq whether RepQ-ViT's candidates are there, too
 */
function searchFold(
  weights: Tensor[],
  observation: Observation,
  mean: Float64Array | null,
  repq: boolean,
  breathe: ReturnType<typeof breather>,
): Promise<Fold> {
  const shift = mean ?? new Float64Array(observation.width)
  const columns = columnsOf(weights)
  const foldOf = (by: Float64Array, measure: (typeof MEASURES)[number], exponent: number): Fold => ({
    shift: by,
    factor: smoothingFactor(columns, observation, by, measure, exponent),
  })
  const middle = mean ? middles(observation) : shift
  const candidates = [
    { shift, factor: new Float64Array(observation.width).fill(1) },
    ...MEASURES.flatMap((measure) => EXPONENTS.map((exponent) => foldOf(shift, measure, exponent))),
    ...(repq ? REPQ_EXPONENTS.map((exponent) => foldOf(middle, 'reach', exponent)) : []),
  ]
  return leastFold(candidates, (fold) => foldLoss(weights, observation, fold, breathe))
}

/** Factors that tell about what the best of {@link searchFold} can do. */
const USUAL_FOLD = { measure: 'rms', exponent: 0.5 } as const

/**
 * How well what layers read and their weights can be rounded together, with factors or as they are, in the unit of their outputs' squares.
 *
 * @param folded whether factors are tried
 * @returns the geometric mean over {@link REFERENCE_BITS}
 */
export async function roundingLoss(
  weights: Tensor[],
  observation: Observation,
  folded: boolean,
  breathe: ReturnType<typeof breather>,
): Promise<number> {
  const shift = observation.mean
  const identity = { shift, factor: new Float64Array(observation.width).fill(1) }
  const usual = () => smoothingFactor(columnsOf(weights), observation, shift, USUAL_FOLD.measure, USUAL_FOLD.exponent)
  let least = Number.POSITIVE_INFINITY
  for (const fold of folded ? [identity, { shift, factor: usual() }] : [identity]) {
    least = Math.min(least, await foldLoss(weights, observation, fold, breathe))
  }
  return least ** (1 / REFERENCE_BITS.length)
}

/** Of the range of each channel. */
export const middles = ({ min, max }: Observation): Float64Array => Float64Array.from(min, (x, j) => (x + max[j]) / 2)

/** Of equals the first. */
export async function leastFold([first, ...others]: Fold[], lossOf: (fold: Fold) => Promise<number>): Promise<Fold> {
  let [best, least] = [first, await lossOf(first)]
  for (const fold of others) {
    const loss = await lossOf(fold)
    if (loss < least) [best, least] = [fold, loss]
  }
  return best
}

/** Of the columns of some weights, over all rows. */
export interface WeightColumns {
  largest: Float64Array
  rms: Float64Array
}

/** @param weights all with as many columns */
export function columnsOf(weights: Tensor[]): WeightColumns {
  const width = weights[0].shape[1]
  const largest = new Float64Array(width)
  const squares = new Float64Array(width)
  let rows = 0
  for (const { shape, data } of weights) {
    rows += shape[0]
    for (let from = 0; from < data.length; from += width) {
      for (let j = 0; j < width; j++) {
        const w = data[from + j]
        largest[j] = Math.max(largest[j], Math.abs(w))
        squares[j] += w * w
      }
    }
  }
  return { largest, rms: squares.map((sum) => Math.sqrt(sum / rows)) }
}

/** eps_j; 1 for a channel that is constant over calibration. */
export function smoothingFactor(
  columns: WeightColumns,
  observation: Observation,
  shift: Float64Array,
  measure: (typeof MEASURES)[number],
  exponent: number,
): Float64Array {
  const { width, min, max, mean, meanSquare } = observation
  return Float64Array.from({ length: width }, (_, j) => {
    const reach = Math.max(max[j] - shift[j], shift[j] - min[j])
    if (reach <= CONSTANT * Math.abs(mean[j])) return 1
    const rms = Math.sqrt(Math.max(0, meanSquare[j] - 2 * shift[j] * mean[j] + shift[j] ** 2))
    const [x, w] = measure === 'reach' ? [reach, columns.largest[j]] : [rms, columns.rms[j]]
    return Math.max(1e-5, x ** exponent / Math.max(1e-5, w) ** (1 - exponent))
  })
}

/**
 * Expected squared error of the layers' outputs per row, from quantized inputs plus from quantized weights, errors taken as uncorrelated.
 */
async function foldLoss(weights: Tensor[], observation: Observation, fold: Fold, breathe: ReturnType<typeof breather>): Promise<number> {
  const { width } = observation
  const folded = await foldObservation(fewerSamples(observation), fold, breathe)
  const energy = new Float64Array(width)
  const losses = REFERENCE_BITS.map(() => 0)
  for (const { shape, data } of weights) {
    const stride = Math.max(1, Math.floor(shape[0] / ROWS_COMPARED))
    const compared = Math.ceil(shape[0] / stride)
    for (let o = 0; o < shape[0]; o++) {
      const row = data.slice(o * width, (o + 1) * width)
      for (let j = 0; j < width; j++) {
        row[j] *= fold.factor[j]
        energy[j] += row[j] * row[j]
      }
      if (o % stride) continue
      REFERENCE_BITS.forEach((bits, i) => {
        losses[i] += (COMPENSATED * searchRow(row, folded.meanSquare, bits).loss * shape[0]) / compared
      })
      await breathe()
    }
  }
  const inputs = await codeLosses(folded, energy, breathe)
  return losses.reduce((product, loss, i) => product * (loss + inputs[i]), 1)
}

/** Mean squared error of a row, columns weighed, at each of {@link REFERENCE_BITS}. */
async function codeLosses(observation: Observation, weights: Float64Array | null, breathe: ReturnType<typeof breather>): Promise<number[]> {
  const histogram = await Histogram.of(observation, weights, breathe)
  const losses: number[] = []
  for (const bits of REFERENCE_BITS) {
    await breathe()
    const { loss } = searchCodebook(histogram, bits, searchUniform(histogram, bits))
    losses.push(loss / (observation.samples.length / observation.width))
  }
  return losses
}

/** How well an edge that no layer reads can be rounded: geometric mean over {@link REFERENCE_BITS} of its mean squared error. */
export async function edgeLoss(observation: Observation, breathe: ReturnType<typeof breather>): Promise<number> {
  const losses = await codeLosses(fewerSamples(observation), null, breathe)
  return losses.reduce((product, loss) => product * loss, 1) ** (1 / losses.length)
}

/** Every nth of the sampled rows. */
function fewerSamples(observation: Observation): Observation {
  const { samples, width } = observation
  const stride = Math.max(1, Math.floor(samples.length / width / SAMPLES_COMPARED))
  const rows = Math.floor(samples.length / width / stride)
  return { ...observation, samples: everyNthRow(samples.subarray(0, rows * stride * width), width, stride) }
}

export function foldNorm(graph: Graph, norm: NodeOf<'layernorm'>, { shift, factor }: Fold): void {
  const gamma = tensorOf(graph, norm.gamma)
  const beta = tensorOf(graph, norm.beta)
  graph.constants.set(norm.gamma, { shape: gamma.shape, data: gamma.data.map((g, j) => g / factor[j]) })
  graph.constants.set(norm.beta, { shape: beta.shape, data: beta.data.map((b, j) => (b - shift[j]) / factor[j]) })
}

/** The edge keeps its name; what GELU writes gets another. */
function insertScale(graph: Graph, gelu: NodeOf<'gelu'>, { factor }: Fold): void {
  const { output } = gelu
  gelu.output = `${output}.unscaled`
  graph.edges.set(gelu.output, graph.edges.get(output) as Edge)
  const constant = `${gelu.name}.factor`
  graph.constants.set(constant, { shape: [factor.length], data: Float32Array.from(factor, (f) => 1 / f) })
  const scale: Node = { name: `${gelu.name}.scale`, output, op: 'scale', input: gelu.output, factor: constant }
  graph.nodes.splice(graph.nodes.indexOf(gelu) + 1, 0, scale)
}

/** Divides the outputs of a layer by the factors. */
function foldOutputs(graph: Graph, node: LinearNode, { factor }: Fold): void {
  const { shape, data } = tensorOf(graph, node.weight)
  graph.constants.set(node.weight, { shape, data: data.map((w, i) => w / factor[Math.floor(i / shape[1])]) })
  if (node.bias === null) return
  const bias = tensorOf(graph, node.bias)
  graph.constants.set(node.bias, { shape: bias.shape, data: bias.data.map((b, o) => b / factor[o]) })
}

export function foldLinear(graph: Graph, reader: LinearNode, { shift, factor }: Fold): void {
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

export async function foldObservation(
  observation: Observation,
  { shift, factor }: Fold,
  breathe: ReturnType<typeof breather>,
): Promise<Observation> {
  const { width, mean, meanSquare, min, max } = observation
  const samples = observation.samples.slice()
  for (let i = 0; i < samples.length; ) {
    for (let j = 0; j < width; j++, i++) samples[i] = (samples[i] - shift[j]) / factor[j]
    if ((i / width) % 16 === 0) await breathe()
  }
  return {
    ...observation,
    mean: mean.map((m, j) => (m - shift[j]) / factor[j]),
    meanSquare: meanSquare.map((s, j) => Math.max(0, s - 2 * shift[j] * mean[j] + shift[j] ** 2) / factor[j] ** 2),
    min: min.map((x, j) => (x - shift[j]) / factor[j]),
    max: max.map((x, j) => (x - shift[j]) / factor[j]),
    samples,
  }
}
