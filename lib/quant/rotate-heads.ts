import { breather } from '../codes/breathe.js'
import { type Graph, inputsOf, type NodeOf, type Tensor } from '../graph/graph.js'
import type { RunOptions } from './observe.js'
import type { LinearNode } from './operands.js'
import { orthogonal, readersOf, rotateInputs, rotateOutputs } from './rotate.js'

/**
 * Offline rotation inside the heads of attention (QuaRot, Ashkboos et al., NeurIPS 2024, which turns values so and turns queries and keys
 * at run time): with an orthogonal R for each head,
 *
 *   q k^T = (q R) (k R)^T,   (p v) W^T = (p v R) (W R)^T,
 *
 * so that R moves into the layers that make queries, keys and values, and into the one that reads what attention makes of the values. The
 * float model is unchanged, and all channels of a head reach about equally far.
 */

/**
 * @returns a graph that computes the same. Queries and keys that anything but a linear layer makes, or that something else than this
 *   attention reads, stay as they are; so do values, and where anything but linear layers reads the outputs.
 */
export async function rotateHeads(float: Graph, options: RunOptions & { seed?: number } = {}): Promise<Graph> {
  const graph: Graph = { ...float, constants: new Map(float.constants) }
  const attentions = graph.nodes.filter((node): node is NodeOf<'attention'> => node.op === 'attention')
  for (const [i, { heads, q, k, v, output }] of attentions.entries()) {
    const rotation = await blockDiagonal(heads, (graph.edges.get(q) as { width: number }).width / heads, (options.seed ?? 0) + i, options)
    const [query, key, value] = [q, k, v].map((edge) => makerOf(graph, edge))
    if (query && key && query !== key) for (const node of [query, key]) await rotateOutputs(graph, node, rotation, options)
    const readers = readersOf(graph, output)
    if (!value || value === query || value === key || readers === null) continue
    await rotateOutputs(graph, value, rotation, options)
    for (const reader of new Set(readers)) await rotateInputs(graph, reader, rotation, options)
  }
  return graph
}

/** The linear layer that makes an edge which one node reads. */
function makerOf(graph: Graph, edge: string): LinearNode | null {
  const maker = graph.nodes.find(({ output }) => output === edge)
  return maker?.op === 'linear' && graph.nodes.filter((node) => inputsOf(node).includes(edge)).length === 1 ? maker : null
}

/** Another rotation for each head. */
async function blockDiagonal(heads: number, size: number, seed: number, { signal }: RunOptions): Promise<Tensor> {
  const width = heads * size
  const data = new Float32Array(width * width)
  for (let head = 0; head < heads; head++) {
    const block = (await orthogonal(size, seed * heads + head, breather(signal))).data
    for (let i = 0; i < size; i++) data.set(block.subarray(i * size, (i + 1) * size), (head * size + i) * width + head * size)
  }
  return { shape: [width, width], data }
}
