import { breather } from '../codes/breathe.js'
import type { Observation } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import type { Scheme } from '../graph/scheme.js'
import { type Calibration, firstImages, observe, type RunOptions } from './observe.js'
import { findOperands, tensorOf } from './operands.js'

/**
 * What in a float model is seldom meant: quantization copes with it, but whoever owns the checkpoint should know.
 */

export interface ConstantActivation {
  /** The edge, or the softmax output of an attention node. */
  name: string
  /** 0 everywhere; else each column has one value, whatever the image and the token. */
  zero: boolean
}

export interface ZeroRows {
  layer: string
  weight: string
  /** Rows without any weight but 0, of how many. */
  rows: number
  outputs: number
}

/** Enough to see that nearly all edges vary; only the others are looked at on all images. */
const IMAGES = 4

/** @returns operands of the scheme whose values do not depend on image or token, on any of the calibration images */
export async function constantActivations(
  graph: Graph,
  coverage: Scheme['coverage'],
  calibration: Calibration,
  options: RunOptions,
): Promise<ConstantActivation[]> {
  const operands = findOperands(graph, coverage).activations.filter(({ kind }) => kind !== 'logits')
  const few = await observe(graph, operands, firstImages(calibration, IMAGES), options)
  const suspects = operands.filter(({ name }) => isConstant(few.observations.get(name) as Observation))
  if (suspects.length === 0) return []
  const { observations } = await observe(graph, suspects, calibration, options)
  return suspects.flatMap(({ name }) => {
    const seen = observations.get(name) as Observation
    return isConstant(seen) ? [{ name, zero: seen.meanSquare.every((x) => x === 0) }] : []
  })
}

/** A single row, as the class token of a single image is, tells nothing. */
function isConstant({ count, min, max }: Observation): boolean {
  return count > 1 && min.every((x, column) => x === max[column])
}

/** @returns linear layers that have such rows */
export async function zeroRows(graph: Graph, signal?: AbortSignal): Promise<ZeroRows[]> {
  const breathe = breather(signal)
  const found: ZeroRows[] = []
  for (const node of graph.nodes) {
    if (node.op !== 'linear') continue
    const { shape, data } = tensorOf(graph, node.weight)
    const [outputs, inputs] = shape
    let rows = 0
    for (let o = 0; o < outputs; o++) {
      if (data.subarray(o * inputs, (o + 1) * inputs).every((w) => w === 0)) rows++
      await breathe()
    }
    if (rows > 0) found.push({ layer: node.name, weight: node.weight, rows, outputs })
  }
  return found
}
