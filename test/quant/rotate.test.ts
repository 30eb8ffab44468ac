import { describe, expect, test } from '@jest/globals'
import { orthogonal, rotate } from '../../lib/quant/rotate.js'
import { normals } from '../support/random.js'
import { runReference } from '../support/reference.js'
import { smallVit } from '../support/small-vit.js'

describe('the rotation', () => {
  test.each([1, 2, 7, 36, 192])('of %i channels is orthogonal, keeps the vector of ones and spreads the others', async (width) => {
    const { data } = await orthogonal(width, 3, () => {})
    let worst = 0
    for (let i = 0; i < width; i++) {
      let ones = -1
      for (let j = 0; j < width; j++) {
        ones += data[i * width + j]
        let dot = i === j ? -1 : 0
        for (let k = 0; k < width; k++) dot += data[i * width + k] * data[j * width + k]
        worst = Math.max(worst, Math.abs(dot))
      }
      worst = Math.max(worst, Math.abs(ones))
    }
    expect(worst).toBeLessThan(1e-5)
    // An outlier of one channel: a fair share of it a channel is 1 / sqrt(width), its maximum over Gaussian-like entries about 3.5 times that.
    if (width === 192) expect(Math.max(...data.map(Math.abs))).toBeLessThan(6 / Math.sqrt(width))
  })

  test('changes the stream and not what the model computes', async () => {
    const graph = await smallVit()
    const rotated = await rotate(graph)
    const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
    const image = normals(1, rows * width)
    const [before, after] = [runReference(graph, image), runReference(rotated, image)]
    const logits = before.get(graph.output)?.data as Float64Array
    after.get(graph.output)?.data.forEach((value, i) => {
      expect(value).toBeCloseTo(logits[i], 4)
    })
    const stream = (edges: typeof before) => edges.get('layers.1.sum')?.data as Float64Array
    expect(Math.max(...stream(before).map((x, i) => Math.abs(x - stream(after)[i])))).toBeGreaterThan(0.1)
  })

  test('leaves a stream alone that something else than LayerNorm reads', async () => {
    const graph = await smallVit({ distillationHead: false, distillationToken: false })
    graph.nodes.push({ name: 'direct', output: 'direct', op: 'linear', input: 'class_token', weight: 'head.weight', bias: null })
    graph.edges.set('direct', { rows: 1, width: 11 })
    expect([...(await rotate(graph)).constants.values()]).toEqual([...graph.constants.values()])
  })
})
