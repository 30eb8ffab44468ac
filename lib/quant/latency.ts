import type { Edge, Graph, Node, NodeOf, Tensor } from '../graph/graph.js'
import { batchOf, lower } from '../graph/lower.js'
import type { Code, WeightCode } from '../graph/scheme.js'
import { randomUniform } from '../random.js'
import { packWeight } from '../runtime/blobs.js'
import { type OpTime, Session } from '../runtime/session.js'
import { chooseThreads } from '../runtime/threads.js'
import { WIDTHS } from './search.js'

/**
 * How long each linear layer takes at each width of its weight, measured on this machine. Activations are bytes at any width, so theirs
 * make no difference. Each layer is timed by itself, without bias, activation or residual, which cost the same at any width.
 */
export interface Latency {
  layers: LayerLatency[]
  /** Of a run that was timed: a batch for each thread, as in the middle of a long run. */
  images: number
  threads: number
}

export interface LayerLatency {
  /** The node. */
  layer: string
  /** Its weight. */
  weight: string
  /** Milliseconds an image, by width. */
  milliseconds: Map<number, number>
}

export interface LatencyOptions {
  threads?: number
  /** A path, as `devices()` lists them. */
  isa?: string
  signal?: AbortSignal
  onProgress?: (done: number, total: number) => void
}

/** Timed runs of each width, in turn, so that a slow phase of the machine and what lies in the cache are the same for all. */
const ROUNDS = 25
const WARM_UP = 2
const TIMED = 'linear'

/** A width has to be this much faster than another to count as faster: less is noise. */
const FASTER = 0.99

/** Layers of the same shape are measured once. */
export async function measureLatency(graph: Graph, options: LatencyOptions = {}): Promise<Latency> {
  const linears = graph.nodes.filter((node): node is NodeOf<'linear'> => node.op === 'linear')
  const batch = batchOf(graph)
  const threads = chooseThreads(options.threads)
  const known = new Map<string, Map<number, number>>()
  const layers: LayerLatency[] = []
  for (const [i, node] of linears.entries()) {
    const { rows } = graph.edges.get(node.output) as Edge
    const [outputs, inputs] = (graph.constants.get(node.weight) as Tensor).shape
    const shape = `${rows} ${inputs} ${outputs}`
    const milliseconds = known.get(shape) ?? (await measureShape(rows, inputs, outputs, batch, { ...options, threads }))
    known.set(shape, milliseconds)
    layers.push({ layer: node.name, weight: node.weight, milliseconds })
    options.onProgress?.(i + 1, linears.length)
  }
  return { layers, images: batch * threads, threads }
}

/**
 * The widths that are worth their time: no narrower one is faster, which would win both time and bytes.
 *
 * @param widths to choose from, widest first
 */
export function worthwhileWidths(widths: readonly number[], milliseconds: ReadonlyMap<number, number>): number[] {
  const time = (width: number): number => milliseconds.get(width) ?? Number.NaN
  return widths.filter((width, i) => !widths.slice(i + 1).some((narrower) => time(narrower) < FASTER * time(width)))
}

type Run = LatencyOptions & { threads: number }

async function measureShape(rows: number, inputs: number, outputs: number, batch: number, { threads, isa, signal }: Run) {
  const sessions = WIDTHS.map((bits) => new Session(planOf(rows, inputs, outputs, bits, batch), { path: isa, threads }))
  const images = batch * threads
  const input = new Float32Array(images * rows * inputs).map((_, i) => Math.sin(i))
  const times: number[][] = WIDTHS.map(() => [])
  try {
    for (let round = -WARM_UP; round < ROUNDS; round++) {
      for (const [w, session] of sessions.entries()) {
        const { times: ops } = await session.profile(input, images, { signal })
        const timed = ops.find(({ name }) => name === TIMED) as OpTime
        if (round >= 0) times[w].push(timed.nanoseconds / 1e6 / images)
      }
    }
  } finally {
    for (const session of sessions) session.dispose()
  }
  return new Map(WIDTHS.map((bits, w) => [bits, times[w].sort((a, b) => a - b)[ROUNDS >> 1]]))
}

/**
 * LayerNorm, which makes codes, the linear layer with random weights that is timed, and the mean of its rows, since a model's output is one
 * row.
 */
function planOf(rows: number, inputs: number, outputs: number, bits: number, batch: number) {
  const nodes: Node[] = [
    { name: 'norm', output: 'norm', op: 'layernorm', input: 'rows', gamma: 'gamma', beta: 'beta', eps: 1e-6 },
    { name: TIMED, output: 'products', op: 'linear', input: 'norm', weight: 'weight', bias: null },
    { name: 'mean', output: 'mean', op: 'mean', input: 'products' },
  ]
  const edges = new Map([
    ['rows', { rows, width: inputs }],
    ['norm', { rows, width: inputs }],
    ['products', { rows, width: outputs }],
    ['mean', { rows: 1, width: outputs }],
  ])
  const row = (value: number): Tensor => ({ shape: [inputs], data: new Float32Array(inputs).fill(value) })
  const constants = new Map([
    ['gamma', row(1)],
    ['beta', row(0)],
  ])
  const graph: Graph = { architecture: 'linear', nodes, edges, constants, input: 'rows', output: 'mean' }
  const code: Code = { bits: 8, family: 'uniform', levels: Array.from({ length: 256 }, (_, i) => i - 128), step: 1 / 32 }
  const next = randomUniform(bits)
  const codes = new Int8Array(outputs * inputs).map(() => 2 ** bits * next() - 2 ** (bits - 1))
  const packed = packWeight(codes, outputs, inputs, bits)
  const weight: WeightCode = { bits, outputs, inputs, packed, steps: new Float32Array(outputs).fill(1 / 128) }
  return lower(graph, { weights: new Map([['weight', weight]]), edges: new Map([['norm', code]]), coverage: 'partial' }, { batch }).plan
}
