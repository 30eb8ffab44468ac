import { logitsOf, probabilitiesOf } from '../../lib/graph/scheme.js'
import { observeLogits } from '../../lib/quant/logits.js'
import { normals } from '../support/random.js'
import { type Matrix, runReference } from '../support/reference.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'

it.each([
  ['ViT', smallVit],
  ['Swin', smallSwin],
] as const)('sees the extremes of the logits of a small %s, and keeps those that softmax favours', async (_, make) => {
  const graph = await make()
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const pixels = normals(4, rows * width)
  const seen = await observeLogits(graph, { pixels, images: 1 })
  const reference = runReference(graph, pixels)
  const attentions = graph.nodes.flatMap((node) => (node.op === 'attention' ? [node] : []))
  expect(seen.size).toBe(attentions.length)
  for (const node of attentions) {
    const { data, width: tokens } = reference.get(logitsOf(node)) as Matrix
    // Unattended keys have a logit, too, and next to no weight.
    const weights = reference.get(probabilitiesOf(node)) as Matrix
    const attended = data.filter((_, i) => weights.data[i] > 1e-30)
    const { min, max, samples, count } = seen.get(logitsOf(node)) as NonNullable<ReturnType<typeof seen.get>>
    expect(max[0]).toBeCloseTo(Math.max(...attended), 3)
    expect(min[0]).toBeCloseTo(Math.min(...attended), 3)
    expect(count).toBe(attended.length)
    expect(samples.length).toBe((4 * data.length) / tokens)
    const mean = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0) / values.length
    expect(mean(samples)).toBeGreaterThan(mean(attended))
  }
})
