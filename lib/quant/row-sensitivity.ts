import { breather } from '../codes/breathe.js'
import type { Graph } from '../graph/graph.js'
import { fisher, rowEnergies, signGradients } from './fisher.js'
import type { Calibration, RunOptions } from './observe.js'
import type { ActivationOperand } from './operands.js'

/**
 * How much predictions mind an error in each row that a linear layer writes: E[|g|^2] with gradients g that have the second moments of
 * those of a log-likelihood at labels drawn from the model (signGradients, fisher.ts). Rows of what it reads count as much when weights
 * make up for their rounding, and when the code of these rows is chosen. Predictions mind the class token far more than others, and
 * uncertain images more than clear ones.
 *
 * In the last layers of some models less than one row an image counts by this measure; moments of so few rows would learn the calibration
 * images by heart. So rows count by its square root, and each has a share of the mean. Both are our definition, measured in
 * docs/quantization.md.
 */

/** By edge that linear layers read: [images][rows], of mean 1. Not of edges with one row an image. */
export type RowSensitivity = Map<string, Float32Array>

/** Share of the mean that each row has at least. */
const SHARE = 0.5
const DRAWS = 2
/** Floats of gradients that are held at a time, of all layers. */
const MOST_HELD = 1 << 23

/**
 * @param logits of the graph on the calibration images
 * @param mostHeld floats of gradients; those of one image are held at least
 */
export async function measureRowSensitivity(
  graph: Graph,
  activations: ActivationOperand[],
  calibration: Calibration,
  logits: Float32Array,
  { threads, signal, onProgress }: RunOptions,
  mostHeld = MOST_HELD,
): Promise<RowSensitivity> {
  const shapeOf = (edge: string) => graph.edges.get(edge) as { rows: number; width: number }
  const rowsOf = (edge: string) => shapeOf(edge).rows
  const breathe = breather(signal)
  const written = new Map(
    activations.map(({ name, readers, elements, width }) => {
      const rows = elements / width
      // A layer that reads some rows alone tells nothing of the others.
      return [name, rows > 1 ? readers.flatMap(({ output }) => (rowsOf(output) === rows ? [output] : [])) : []]
    }),
  )
  const outputs = new Set([...written.values()].flat())
  const held = [...outputs].reduce((sum, edge) => sum + shapeOf(edge).rows * shapeOf(edge).width, 0)
  const together = Math.max(1, Math.floor(mostHeld / held))
  const energies = new Map([...outputs].map((edge) => [edge, new Float64Array(calibration.images * rowsOf(edge))]))
  for (let first = 0; first < calibration.images; first += together) {
    const images = Math.min(together, calibration.images - first)
    const part = (all: Float32Array) =>
      all.subarray((all.length / calibration.images) * first, (all.length / calibration.images) * (first + images))
    const found = await fisher(graph, { images, pixels: part(calibration.pixels) }, [...outputs], {
      ...{ threads, signal, draws: DRAWS, seed: first, seeds: signGradients, logits: part(logits) },
      samples: new Map([...outputs].map((edge) => [edge, { sampleRows: rowsOf(edge) * images, sampleStride: 1 }])),
    })
    for (const [edge, gradients] of found) {
      energies.get(edge)?.set(rowEnergies(gradients), first * rowsOf(edge))
      await breathe()
    }
    onProgress?.(first + images, calibration.images)
  }
  return new Map(
    [...written].flatMap(([name, edges]) =>
      edges.length > 0 ? [[name, weightsOf(edges.map((edge) => energies.get(edge) as Float64Array))] as const] : [],
    ),
  )
}

/** @param energies of the rows that each layer writes, from one edge */
function weightsOf(energies: Float64Array[]): Float32Array {
  const roots = Float32Array.from(energies[0], (_, t) => Math.sqrt(energies.reduce((sum, layer) => sum + layer[t], 0)))
  const mean = roots.reduce((sum, x) => sum + x, 0) / roots.length
  return roots.map((x) => (mean > 0 ? SHARE + ((1 - SHARE) * x) / mean : 1))
}
