import { breather } from '../../lib/codes/breathe.js'
import { observationOf } from '../../lib/codes/observation.js'
import { observe } from '../../lib/quant/observe.js'
import { findOperands } from '../../lib/quant/operands.js'
import { columnsOf, FEWEST_ROWS, middles, smooth, smoothingFactor } from '../../lib/quant/smooth.js'
import { normals } from '../support/random.js'
import { smallVit } from '../support/small-vit.js'

const weight = { shape: [2, 3], data: Float32Array.from([0.5, -4, 1, -0.25, 2, 3]) }
// Ranges -1..3, 2..10 and -6..0.
const observation = observationOf(Float32Array.from([-1, 10, 0, 3, 2, -6, 2.5, 3, -5]), 3)

it('has RepQ-ViT among its candidates: exponent 1 around the middle of the range', () => {
  expect([...middles(observation)]).toEqual([1, 6, -3])
  const factor = smoothingFactor(columnsOf([weight]), observation, middles(observation), 'reach', 1)
  // With s_j = (max_j - min_j) / 255 RepQ-ViT divides by r_j = s_j / mean(s) and has the zero point -128 - min_j / s_j.
  const common = (4 + 8 + 6) / 3
  const scales = [4, 8, 6].map((range) => range / 255)
  const average = (scales[0] + scales[1] + scales[2]) / 3
  const mean = (factor[0] + factor[1] + factor[2]) / 3
  scales.forEach((s, j) => {
    expect(factor[j] / mean).toBeCloseTo(s / average, 12)
  })
  // One range for all channels: min and max of each, moved and divided, are the ends of it.
  const ends = ({ min, max }: typeof observation) =>
    [0, 1, 2].flatMap((j) => [min, max].map((end) => ((end[j] - middles(observation)[j]) / factor[j]) * mean * 2))
  for (const [i, end] of ends(observation).entries()) expect(end).toBeCloseTo(i % 2 === 0 ? -common : common, 12)
})

it('has SQ-b: SmoothQuant around the mean', () => {
  const factor = smoothingFactor(columnsOf([weight]), observation, observation.mean, 'reach', 0.5)
  // Means 1.5, 5, -11 / 3; the farthest values are 2.5, 5 and 11 / 3 away, the largest weights 0.5, 4 and 3.
  const expected = [Math.sqrt(2.5 / 0.5), Math.sqrt(5 / 4), Math.sqrt(11 / 3 / 3)]
  factor.forEach((f, j) => {
    expect(f).toBeCloseTo(expected[j], 6)
  })
})

it('leaves alone what was seen in few rows: the head reads one row of an image', async () => {
  const graph = await smallVit({ distillationHead: false, distillationToken: false })
  const { activations } = findOperands(graph)
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  for (const images of [FEWEST_ROWS - 1, 4 * FEWEST_ROWS]) {
    const { observations } = await observe(graph, activations, { pixels: normals(1, images * rows * width), images })
    const smoothed = await smooth(graph, activations, observations, breather(undefined))
    const same = (name: string) => smoothed.graph.constants.get(name) === graph.constants.get(name)
    expect([images, same('head.weight'), same('layers.1.mlp.fc1.weight')]).toEqual([images, images < FEWEST_ROWS, false])
  }
})
