import { costOf } from '../../lib/graph/cost.js'
import { lower } from '../../lib/graph/lower.js'
import { type Work, workOf } from '../../lib/graph/work.js'
import type { Plan } from '../../lib/runtime/addon-types.js'
import { normals } from '../support/random.js'
import { simpleScheme } from '../support/random-scheme.js'
import { smallSwin } from '../support/small-swin.js'
import { SMALL_SHAPE, smallVit } from '../support/small-vit.js'

const IMAGE = SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth

function find({ plan }: { plan: Plan }, name: string): Work {
  const op = plan.ops.find((each) => each.name === name)
  if (!op) throw new Error(`no op ${name}`)
  return workOf(op, plan)
}

it('the products of a plan are those that cost.ts counts for the graph', async () => {
  const graph = await smallVit()
  const scheme = simpleScheme(graph, normals(1, IMAGE))
  for (const batch of [1, 3]) {
    const { plan } = lower(graph, scheme, { batch })
    const products = plan.ops.reduce((sum, op) => sum + workOf(op, plan).int8, 0)
    expect(products).toBe(batch * 2 * costOf(graph).macs)
  }
  const swin = await smallSwin()
  const { plan } = lower(swin, null, { batch: 1 })
  const products = plan.ops.filter(({ op }) => op === 'linearF32' || op === 'attentionF32')
  const floats = products.reduce((sum, op) => sum + workOf(op, plan).floats, 0)
  expect(floats).toBeGreaterThan(2 * costOf(swin).macs)
})

it('counts bytes of weights once a pass and those of activations for each image', async () => {
  const graph = await smallVit()
  const scheme = simpleScheme(graph, normals(1, IMAGE))
  const [one, three] = [1, 3].map((batch) => find(lower(graph, scheme, { batch }), 'layers.1.mlp.fc1'))
  const bits = scheme.weights.get('layers.1.mlp.fc1.weight')?.bits as number
  const { hidden, intermediate } = SMALL_SHAPE
  const tokens = 2 + Math.floor(21 / 7) * Math.floor(14 / 5)
  // 36 inputs and 70 outputs in blocks of 32 and 16; scale, bias and correction of each output.
  expect(one.weightBytes).toBe((64 * 80 * bits) / 8 + 12 * intermediate)
  expect(three.weightBytes).toBe(one.weightBytes)
  expect(one.activationBytes).toBe(tokens * (hidden + intermediate))
  expect(three.activationBytes).toBe(3 * one.activationBytes)
  // Images are neither.
  const [image, images] = [1, 3].map((batch) => find(lower(graph, scheme, { batch }), 'patches'))
  expect([image.inputBytes, images.inputBytes]).toEqual([4 * IMAGE, 12 * IMAGE])
  expect([one.inputBytes, image.weightBytes]).toEqual([0, 0])
  // The residual is read and the sum written as floats.
  expect(find(lower(graph, scheme, { batch: 1 }), 'layers.1.mlp.fc2').activationBytes).toBe(tokens * (intermediate + 8 * hidden))
})

it('counts windows as the smaller products that they are', async () => {
  const graph = await smallSwin()
  const plan = lower(graph, null, { batch: 1 })
  const { rows, width } = graph.edges.get('stages.0.blocks.0.attention') as { rows: number; width: number }
  const tokens = 3 * 4
  expect(find(plan, 'stages.0.blocks.0.attention').floats).toBe(4 * rows * tokens * width + 2 * rows * tokens * 32)
})

it('an op of gradients is refused by name', async () => {
  const graph = await smallVit()
  const { plan } = lower(graph, null, { products: new Map([['both', { left: 'norm', right: 'norm' }]]) })
  const sum = plan.ops.find(({ op }) => op === 'productSum')
  expect(() => workOf(sum as Plan['ops'][number], plan)).toThrow(/both.sum: the work of productSum is not counted/)
})
