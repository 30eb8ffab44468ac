import { prepareWeights } from '../graph/constants.js'
import type { Graph, Tensor } from '../graph/graph.js'
import { lower } from '../graph/lower.js'
import { Session } from '../runtime/session.js'
import type { RunOptions } from './observe.js'

/**
 * Matrix products of the searches, on the executor's float kernels: a graph of one layer, whose images are the rows.
 */

/**
 * x W^T for `x` [rows][inputs] and a weight [outputs][inputs].
 *
 * @returns [rows][outputs]
 */
export async function multiplyRows(x: Float32Array, weight: Tensor, { threads, signal }: RunOptions = {}): Promise<Float32Array> {
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
  await prepareWeights(graph, null, signal)
  const session = new Session(lower(graph, null).plan, { threads })
  try {
    return await session.run(x, x.length / inputs, { signal })
  } finally {
    session.dispose()
  }
}
