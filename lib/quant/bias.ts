import type { Graph } from '../graph/graph.js'
import { type LinearNode, tensorOf } from './operands.js'

/**
 * Subtracts from a linear layer's bias what quantization adds to its mean output; a layer without bias gets one.
 *
 * @param graph changed: its node and its constants
 * @param float the graph whose bias is corrected
 * @param error [outputs]
 * @returns the name of the bias
 */
export function correctBias(graph: Graph, float: Graph, node: LinearNode, error: ArrayLike<number>): string {
  const target = graph.nodes.find((candidate): candidate is LinearNode => candidate.name === node.name)
  if (!target) throw new Error(`there is no layer ${node.name}`)
  const bias = node.bias === null ? new Float32Array(error.length) : tensorOf(float, node.bias).data
  target.bias ??= `${node.name}.bias`
  graph.constants.set(target.bias, { shape: [error.length], data: bias.map((b, o) => b - error[o]) })
  return target.bias
}

/**
 * How far the mean input of a layer has drifted from that in the float model, as far as it can be told: an estimate from few images is
 * shrunk by the share that chance has in it (James and Stein's positive part, column by column, images taken as independent and rows of one
 * image as one). A column in which one row is far off drifts in no other row, and is left alone.
 *
 * @param x [rows][width] in the float model
 * @param y [rows][width] in the quantized one
 * @returns [width]
 */
export async function drift(
  x: Float32Array,
  y: Float32Array,
  width: number,
  images: number,
  breathe: () => Promise<void> | void,
): Promise<Float64Array> {
  const rows = x.length / width
  const [mean, square] = [new Float64Array(width), new Float64Array(width)]
  for (let t = 0; t < rows; t++) {
    for (let j = 0, i = t * width; j < width; j++, i++) {
      const error = y[i] - x[i]
      mean[j] += error / rows
      square[j] += error ** 2 / rows
    }
    if (t % 16 === 0) await breathe()
  }
  return mean.map((m, j) => (m === 0 ? 0 : m * Math.max(0, 1 - (square[j] - m * m) / images / (m * m))))
}
