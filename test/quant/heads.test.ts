import type { Graph } from '../../lib/graph/graph.js'
import { runGraph } from '../../lib/quant/evaluate.js'
import { transformHeads } from '../../lib/quant/heads.js'
import { normals } from '../support/random.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'

const IMAGES = 6

function calibrationOf(graph: Graph) {
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  return { pixels: normals(2, IMAGES * rows * width), images: IMAGES }
}

it.each([
  ['ViT', smallVit],
  ['Swin', smallSwin],
] as const)('changes queries, keys and values of a small %s and not what it computes', async (_, make) => {
  const graph = await make()
  const calibration = calibrationOf(graph)
  const changed = await transformHeads(graph, calibration)
  const logitsOf = (model: Graph) => runGraph(model, null, calibration.pixels, IMAGES, {})
  const [before, after] = [await logitsOf(graph), await logitsOf(changed)]
  const size = Math.max(...before.map(Math.abs))
  expect(Math.max(...after.map((x, i) => Math.abs(x - before[i])))).toBeLessThan(1e-4 * size)
  const attention = graph.nodes.find(({ op }) => op === 'attention') as { q: string; k: string; v: string }
  for (const edge of [attention.q, attention.k, attention.v]) {
    const [old, now] = await Promise.all(
      [graph, changed].map((model) => runGraph(model, null, calibration.pixels, IMAGES, { outputs: [edge] })),
    )
    expect(Math.max(...now.map((x, i) => Math.abs(x - old[i])))).toBeGreaterThan(0.01)
  }
})

it('gives keys and values no mean, and all heads the same size', async () => {
  const graph = await smallVit()
  const calibration = calibrationOf(graph)
  const changed = await transformHeads(graph, calibration)
  const { k, v, q, heads } = changed.nodes.find(({ op }) => op === 'attention') as { q: string; k: string; v: string; heads: number }
  const { width } = changed.edges.get(k) as { width: number }
  for (const edge of [k, v]) {
    const values = await runGraph(changed, null, calibration.pixels, IMAGES, { outputs: [edge] })
    const means = new Float64Array(width)
    values.forEach((x, i) => {
      means[i % width] += (x * width) / values.length
    })
    expect(Math.max(...means.map(Math.abs))).toBeLessThan(1e-3)
  }
  for (const edge of [q, k]) {
    const values = await runGraph(changed, null, calibration.pixels, IMAGES, { outputs: [edge] })
    const energy = new Float64Array(heads)
    values.forEach((x, i) => {
      energy[Math.floor(((i % width) * heads) / width)] += (x * x * heads) / values.length
    })
    // The second moments of queries and keys are damped by a thousandth.
    for (const e of energy) expect(e).toBeCloseTo(1, 1)
  }
})
