import { breather } from '../codes/breathe.js'
import type { Observation } from '../codes/observation.js'
import { type Graph, inputsOf, type Node, type Tensor } from '../graph/graph.js'
import { randomUniform } from '../random.js'
import { farDirections, mirrorsOf, reflect } from './far-channels.js'
import type { RunOptions } from './observe.js'
import { type LinearNode, tensorOf } from './operands.js'
import { multiplyRows } from './product.js'

/**
 * Offline rotation of the residual stream: a few channels of a trained stream reach tens of times as far as the others, and after a
 * rotation all channels reach about equally far. Only weights change; the float model computes what it did.
 *
 * Each layer that writes the stream gets its outputs multiplied by an orthogonal R, each layer that reads it through a LayerNorm its
 * inputs. LayerNorm itself stays what it is: R keeps the vector of ones (R 1 = 1), hence the mean over channels and the variance, so that
 *
 *   (x R - mean) / sigma  =  ((x - mean) / sigma) R
 *
 * with gamma and beta moved into the layers behind. (The published form, QuaRot's, centres the stream and turns LayerNorm into RMSNorm
 * instead.)
 *
 * Some trained models have tokens of which a channel is hundreds of times as large as anything else, and where the stream itself is stored
 * as codes that is better kept in one channel than spread over all: {@link farDirections}, {@link mirrorsOf}.
 */

type NormNode = Extract<Node, { op: 'layernorm' }>

export interface RotateOptions extends RunOptions {
  seed?: number
  /** What is known of edges of the stream; what reaches far there becomes a channel. */
  observations?: Map<string, Pick<Observation, 'min' | 'max' | 'samples'>>
  /** Streams of {@link turnableStreams} that are turned; default: all. */
  streams?: ReadonlySet<number>
}

/** Edges that hold the same channels because rows are added, selected or put side by side. */
interface Stream {
  channels: number
  edges: Set<string>
}

/** A stream that can be turned, with the LayerNorms that read it. */
export interface TurnableStream extends Stream {
  norms: NormNode[]
}

/** @returns a graph that computes the same */
export async function rotate(float: Graph, options: RotateOptions = {}): Promise<Graph> {
  const graph: Graph = { ...float, constants: new Map(float.constants), nodes: float.nodes.map((node) => ({ ...node })) }
  for (const [i, { norms, ...stream }] of turnableStreams(graph)) {
    if (options.streams && !options.streams.has(i)) continue
    const seen = [...stream.edges].flatMap((edge) => options.observations?.get(edge) ?? [])
    const far = farDirections(seen, stream.channels)
    const rotation = await orthogonalBut(new Set(far.keys()), stream.channels, (options.seed ?? 0) + i, breather(options.signal))
    // R = H1 H2 .. T, so that its transpose is T .. H2 H1.
    for (const mirror of mirrorsOf(far).reverse()) {
      for (let from = 0; from < rotation.data.length; from += stream.channels)
        reflect(rotation.data.subarray(from, from + stream.channels), mirror)
    }
    for (const norm of norms) absorbNorm(graph, norm)
    for (const node of graph.nodes) {
      if (node.op === 'linear' && stream.edges.has(node.output)) await rotateOutputs(graph, node, rotation, options)
      if (node.op === 'tokens' && stream.edges.has(node.output)) {
        for (const name of [node.prefix, node.positions])
          graph.constants.set(name, await rotateRows(tensorOf(graph, name), rotation, options))
      }
    }
    const readers = new Set(norms.flatMap((norm) => readersOf(graph, norm.output) as LinearNode[]))
    for (const reader of readers) await rotateInputs(graph, reader, rotation, options)
  }
  return graph
}

/**
 * By their place among the streams of a graph, which no rotation changes. A stream that anything else than linear layers writes, or
 * anything else than LayerNorm reads, cannot be turned (Swin's first stage starts with a LayerNorm).
 */
export function turnableStreams(graph: Graph): Map<number, TurnableStream> {
  return new Map(
    [...streamsOf(graph).entries()].flatMap(([i, stream]) => {
      const norms = normsOf(graph, stream)
      return norms === null ? [] : [[i, { ...stream, norms }] as const]
    }),
  )
}

/** Nodes whose output holds the channels of their inputs. */
const carries = ({ op }: Node): boolean => op === 'add' || op === 'tokens' || op === 'row' || op === 'merge'

function streamsOf(graph: Graph): Stream[] {
  const streams: Stream[] = []
  for (const node of graph.nodes) {
    if (node.op !== 'layernorm' || streams.some(({ edges }) => edges.has(node.input))) continue
    const edges = new Set([node.input])
    let grown = 0
    while (edges.size > grown) {
      grown = edges.size
      for (const other of graph.nodes.filter(carries)) {
        const touched = [...inputsOf(other), other.output]
        if (touched.some((edge) => edges.has(edge))) for (const edge of touched) edges.add(edge)
      }
    }
    const widths = [...edges].map((edge) => graph.edges.get(edge)?.width as number)
    streams.push({ channels: Math.min(...widths), edges })
  }
  return streams
}

/** The LayerNorms that read a stream, or null when it cannot be rotated. */
function normsOf(graph: Graph, { edges }: Stream): NormNode[] | null {
  const norms: NormNode[] = []
  if (edges.has(graph.input) || edges.has(graph.output)) return null
  for (const node of graph.nodes) {
    if (edges.has(node.output) && !carries(node) && node.op !== 'linear') return null
    if (carries(node) || !inputsOf(node).some((edge) => edges.has(edge))) continue
    if (node.op !== 'layernorm' || readersOf(graph, node.output) === null) return null
    norms.push(node)
  }
  return norms
}

/** The linear layers that read an edge, also through rows and means of it; null when anything else does. */
export function readersOf(graph: Graph, edge: string): LinearNode[] | null {
  const readers: LinearNode[] = []
  for (const node of graph.nodes) {
    if (!inputsOf(node).includes(edge)) continue
    const found = node.op === 'linear' ? [node] : node.op === 'row' || node.op === 'mean' ? readersOf(graph, node.output) : null
    if (found === null) return null
    readers.push(...found)
  }
  return edge === graph.output ? null : readers
}

/** Moves gamma and beta into the layers behind. */
function absorbNorm(graph: Graph, norm: NormNode): void {
  const gamma = tensorOf(graph, norm.gamma)
  const beta = tensorOf(graph, norm.beta)
  const width = gamma.data.length
  for (const node of readersOf(graph, norm.output) as LinearNode[]) {
    const { shape, data } = tensorOf(graph, node.weight)
    const bias = node.bias === null ? new Float32Array(shape[0]) : tensorOf(graph, node.bias).data
    const moved = bias.map((b, o) => {
      let sum = b
      for (let j = 0; j < width; j++) sum += data[o * width + j] * beta.data[j]
      return sum
    })
    node.bias ??= `${node.name}.bias`
    graph.constants.set(node.bias, { shape: [shape[0]], data: moved })
    graph.constants.set(node.weight, { shape, data: data.map((w, i) => w * gamma.data[i % width]) })
  }
  graph.constants.set(norm.gamma, { shape: gamma.shape, data: new Float32Array(width).fill(1) })
  graph.constants.set(norm.beta, { shape: beta.shape, data: new Float32Array(width) })
}

/** Every `channels` columns of each row times R, of which `rotation` is the transpose. */
async function rotateRows({ shape, data }: Tensor, rotation: Tensor, options: RunOptions): Promise<Tensor> {
  return { shape, data: await multiplyRows(data, rotation, options) }
}

/** W <- W R */
export async function rotateInputs(graph: Graph, { weight }: LinearNode, rotation: Tensor, options: RunOptions): Promise<void> {
  graph.constants.set(weight, await rotateRows(tensorOf(graph, weight), rotation, options))
}

/** W <- R^T W, b <- b R. */
export async function rotateOutputs(graph: Graph, node: LinearNode, rotation: Tensor, options: RunOptions): Promise<void> {
  const weight = tensorOf(graph, node.weight)
  const rotated = transposed(await rotateRows(transposed(weight), rotation, options))
  graph.constants.set(node.weight, rotated)
  if (node.bias !== null) graph.constants.set(node.bias, await rotateRows(tensorOf(graph, node.bias), rotation, options))
}

function transposed({ shape: [rows, columns], data }: Tensor): Tensor {
  const result = new Float32Array(data.length)
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) result[c * rows + r] = data[r * columns + c]
  return { shape: [columns, rows], data: result }
}

/** {@link orthogonal} among the channels that are not left alone: still orthogonal, and still 1 -> 1. */
async function orthogonalBut(alone: Set<number>, width: number, seed: number, breathe: () => Promise<void> | void): Promise<Tensor> {
  const turned = Array.from({ length: width }, (_, j) => j).filter((j) => !alone.has(j))
  const { data } = await orthogonal(turned.length, seed, breathe)
  const rotation = new Float32Array(width * width)
  for (const j of alone) rotation[j * width + j] = 1
  turned.forEach((i, a) => {
    turned.forEach((j, b) => {
      rotation[i * width + j] = data[a * turned.length + b]
    })
  })
  return { shape: [width, width], data: rotation }
}

/**
 * Q D Q^T with the orthonormal cosine transform Q (DCT-II), whose first column is constant, and random signs D that leave this column
 * alone: symmetric, orthogonal, 1 -> 1, and every other unit vector is spread over all channels. It exists for every width, where Hadamard
 * matrices do not.
 */
export async function orthogonal(width: number, seed: number, breathe: () => Promise<void> | void): Promise<Tensor> {
  const next = randomUniform(seed)
  const signs = Float64Array.from({ length: width }, (_, k) => (k === 0 || next() < 0.5 ? 1 : -1))
  const basis = new Float64Array(width * width)
  for (let i = 0; i < width; i++) {
    for (let k = 0; k < width; k++) {
      basis[i * width + k] = Math.sqrt((k === 0 ? 1 : 2) / width) * Math.cos((Math.PI * (2 * i + 1) * k) / (2 * width))
    }
  }
  const data = new Float32Array(width * width)
  for (let i = 0; i < width; i++) {
    for (let j = i; j < width; j++) {
      let sum = 0
      for (let k = 0; k < width; k++) sum += signs[k] * basis[i * width + k] * basis[j * width + k]
      data[i * width + j] = sum
      data[j * width + i] = sum
    }
    await breathe()
  }
  return { shape: [width, width], data }
}
