import type { Graph } from '../../lib/graph/graph.js'
import { runGraph } from '../../lib/quant/evaluate.js'
import { observe } from '../../lib/quant/observe.js'
import { findOperands } from '../../lib/quant/operands.js'
import { splitChannels } from '../../lib/quant/split.js'
import { normals } from '../support/random.js'
import { smallVit } from '../support/small-vit.js'

const IMAGES = 4
const CHANNEL = 11
const GELU = 'layers.1.mlp.gelu'

/** One hidden channel of the second MLP reaches far. */
async function withOutlier(): Promise<Graph> {
  const graph = await smallVit()
  const fc1 = graph.constants.get('layers.1.mlp.fc1.weight') as { shape: number[]; data: Float32Array }
  const inputs = fc1.shape[1]
  const data = fc1.data.map((w, i) => (Math.floor(i / inputs) === CHANNEL ? 200 * w : w))
  return { ...graph, constants: new Map(graph.constants).set('layers.1.mlp.fc1.weight', { ...fc1, data }) }
}

function calibrationOf(graph: Graph) {
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  return { pixels: normals(2, IMAGES * rows * width), images: IMAGES }
}

it('copies the channel and not what the model computes', async () => {
  const graph = await withOutlier()
  const calibration = calibrationOf(graph)
  const { observations } = await observe(graph, findOperands(graph, 'full').activations, calibration)
  const split = splitChannels(graph, observations)
  expect(split.graph.edges.get(GELU)?.width).toBe((graph.edges.get(GELU)?.width as number) + 32)
  expect(split.graph.edges.get('layers.0.mlp.gelu')).toEqual(graph.edges.get('layers.0.mlp.gelu'))
  const before = await runGraph(graph, null, calibration.pixels, IMAGES, {})
  const after = await runGraph(split.graph, null, calibration.pixels, IMAGES, {})
  const size = Math.max(...before.map(Math.abs))
  after.forEach((x, i) => expect(Math.abs(x - before[i])).toBeLessThan(1e-4 * size))

  // What is known of the edges is what an observer sees there.
  const seen = (await observe(split.graph, findOperands(split.graph, 'full').activations, calibration)).observations
  for (const edge of [GELU, 'layers.1.mlp.fc1']) {
    const [found, expected] = [split.observations.get(edge), seen.get(edge)]
    expect(found?.samples).toEqual(expected?.samples)
    for (const field of ['mean', 'meanSquare', 'min', 'max'] as const) {
      found?.[field].forEach((x, j) => expect(x).toBeCloseTo(expected?.[field][j] as number, 4))
    }
  }
})

it('leaves channels that are alike', async () => {
  const graph = await smallVit()
  const { observations } = await observe(graph, findOperands(graph).activations, calibrationOf(graph))
  const split = splitChannels(graph, observations)
  expect(split.graph.edges).toEqual(graph.edges)
})
