import type { Observation } from '../codes/observation.js'
import { type Graph, inputsOf, type NodeOf, type Tensor } from '../graph/graph.js'
import { type LinearNode, tensorOf } from './operands.js'

/**
 * Outlier channel splitting (Zhao et al., ICML 2019) between the two layers of an MLP: a hidden channel becomes n equal ones, and what the
 * layer behind multiplies it with is divided by n. The float model is unchanged.
 *
 * A channel matters by reach x largest weight, whatever factor is moved between the two. A few trained models have one channel for which
 * this product is a hundred times that of the others: as it is, it sets the step of its whole edge and of every row of the weight behind.
 * How many copies are worth their time is our choice: at most EXTRA channels a layer, and none where channels are alike.
 */

/** New channels in a layer: kernels take inputs by 32. */
const EXTRA = 32
/** A layer is changed only when its farthest channel is so many times as far as the QUANTILE of all. */
const FAR = 6
const QUANTILE = 0.99

type GeluNode = NodeOf<'gelu'>

/**
 * @param observations of the graph's edges, GELU's outputs among them
 * @returns a graph that computes the same, with observations of its edges
 */
export function splitChannels(
  float: Graph,
  observations: Map<string, Observation>,
): { graph: Graph; observations: Map<string, Observation> } {
  const graph: Graph = { ...float, edges: new Map(float.edges), constants: new Map(float.constants) }
  const changed = new Map(observations)
  for (const gelu of graph.nodes.filter((node): node is GeluNode => node.op === 'gelu')) {
    const layers = layersAround(graph, gelu)
    const observation = observations.get(gelu.output)
    if (!layers || !observation) continue
    const copies = countCopies(observation, tensorOf(graph, layers.second.weight))
    const sources = copies.flatMap((count, channel) => Array<number>(count).fill(channel))
    if (sources.length === copies.length) continue
    selectRows(graph, layers.first, sources)
    selectColumns(graph, layers.second, sources, copies)
    for (const edge of [gelu.input, gelu.output]) {
      graph.edges.set(edge, { rows: graph.edges.get(edge)?.rows as number, width: sources.length })
      const seen = observations.get(edge)
      if (seen) changed.set(edge, selectObserved(seen, sources))
    }
  }
  return { graph, observations: changed }
}

/** The linear layers in front of GELU and behind it, when nothing else reads the edges between them. */
function layersAround(graph: Graph, gelu: GeluNode): { first: LinearNode; second: LinearNode } | null {
  const readers = (edge: string) => graph.nodes.filter((node) => inputsOf(node).includes(edge))
  const first = graph.nodes.find(({ output }) => output === gelu.input)
  const [second] = readers(gelu.output)
  const alone = readers(gelu.input).length === 1 && readers(gelu.output).length === 1
  return alone && first?.op === 'linear' && second?.op === 'linear' ? { first, second } : null
}

/** @returns for each channel how many it becomes, EXTRA more in all or none */
function countCopies({ width, min, max }: Observation, { data }: Tensor): number[] {
  const largest = new Float64Array(width)
  data.forEach((w, i) => {
    largest[i % width] = Math.max(largest[i % width], Math.abs(w))
  })
  const far = largest.map((w, j) => w * Math.max(max[j], -min[j]))
  const copies = Array<number>(width).fill(1)
  const farthest = () => far.reduce((best, x, j) => (x / copies[j] > far[best] / copies[best] ? j : best), 0)
  const usual = [...far].sort((a, b) => a - b)[Math.floor(QUANTILE * (width - 1))]
  if (!(far[farthest()] > FAR * usual)) return copies
  for (let extra = 0; extra < EXTRA; extra++) copies[farthest()]++
  return copies
}

function selectRows(graph: Graph, { weight, bias }: LinearNode, sources: number[]): void {
  const { shape, data } = tensorOf(graph, weight)
  const inputs = shape[1]
  const rows = new Float32Array(sources.length * inputs)
  sources.forEach((channel, row) => {
    rows.set(data.subarray(channel * inputs, (channel + 1) * inputs), row * inputs)
  })
  graph.constants.set(weight, { shape: [sources.length, inputs], data: rows })
  if (bias === null) return
  const all = tensorOf(graph, bias).data
  graph.constants.set(bias, { shape: [sources.length], data: Float32Array.from(sources, (channel) => all[channel]) })
}

function selectColumns(graph: Graph, { weight }: LinearNode, sources: number[], copies: number[]): void {
  const { shape, data } = tensorOf(graph, weight)
  const [outputs, inputs] = shape
  const columns = new Float32Array(outputs * sources.length)
  for (let o = 0; o < outputs; o++) {
    sources.forEach((channel, column) => {
      columns[o * sources.length + column] = data[o * inputs + channel] / copies[channel]
    })
  }
  graph.constants.set(weight, { shape: [outputs, sources.length], data: columns })
}

function selectObserved(observation: Observation, sources: number[]): Observation {
  const { width, samples } = observation
  const select = (values: Float64Array) => Float64Array.from(sources, (channel) => values[channel])
  const rows = samples.length / width
  const selected = new Float32Array(rows * sources.length)
  for (let t = 0; t < rows; t++) {
    sources.forEach((channel, column) => {
      selected[t * sources.length + column] = samples[t * width + channel]
    })
  }
  const { count, mean, meanSquare, min, max } = observation
  return {
    count,
    width: sources.length,
    samples: selected,
    mean: select(mean),
    meanSquare: select(meanSquare),
    min: select(min),
    max: select(max),
  }
}
