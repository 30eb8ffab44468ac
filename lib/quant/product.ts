import type { Graph, Tensor } from '../graph/graph.js'
import { runGraph } from './evaluate.js'
import type { RunOptions } from './observe.js'

/**
 * Matrix products of the searches, on the executor's float kernels: a graph of one layer, whose images are the rows.
 */

/**
 * x W^T for `x` [rows][inputs] and a weight [outputs][inputs].
 *
 * @returns [rows][outputs]
 */
export async function multiplyRows(x: Float32Array, weight: Tensor, options: RunOptions = {}): Promise<Float32Array> {
  const [outputs, inputs] = weight.shape
  const graph: Graph = {
    architecture: 'product',
    nodes: [{ name: 'product', output: 'y', op: 'linear', input: 'x', weight: 'w', bias: null }],
    edges: new Map([
      ['x', { rows: 1, width: inputs }],
      ['y', { rows: 1, width: outputs }],
    ]),
    constants: new Map([['w', weight]]),
    input: 'x',
    output: 'y',
  }
  return runGraph(graph, null, x, x.length / inputs, options)
}
