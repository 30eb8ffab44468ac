import { costOf } from '../../lib/graph/cost.js'
import { lower } from '../../lib/graph/lower.js'
import { type Latency, quantize } from '../../lib/index.js'
import { measureLatency, worthwhileWidths } from '../../lib/quant/latency.js'
import { WIDTHS } from '../../lib/quant/search.js'
import { smallVit } from '../support/small-vit.js'
import { noise, tinyModel } from '../support/tiny-model.js'

const times = (...milliseconds: number[]) => new Map(milliseconds.map((ms, i) => [WIDTHS[i], ms]))

test('a width is worth its time unless a narrower one is faster', () => {
  //                8    7    6    5    4    3    2
  const measured = times(1, 1.3, 1.15, 1.2, 1.05, 1.2, 1.1)
  expect(worthwhileWidths(WIDTHS, measured)).toEqual([8, 4, 2])
  expect(worthwhileWidths([8, 7, 6, 5, 4, 3], measured)).toEqual([8, 4, 3])
  // Where weights have to be fetched, the narrowest is the fastest, and the only one.
  expect(worthwhileWidths(WIDTHS, times(8, 7, 6, 5, 4, 3, 2))).toEqual([2])
  // What is faster by less than a hundredth is noise.
  expect(worthwhileWidths(WIDTHS, times(1, 1, 1, 1, 1, 1, 0.995))).toEqual(WIDTHS)
})

test('every linear layer is timed at every width, those of one shape once', async () => {
  const graph = await smallVit()
  const { layers, ...conditions } = await measureLatency(graph, { threads: 2 })
  expect(conditions).toEqual({ images: 2 * lower(graph, null).plan.batch, threads: 2 })
  const linears = graph.nodes.flatMap((node) => (node.op === 'linear' ? [node] : []))
  expect(layers.map(({ layer, weight }) => [layer, weight])).toEqual(linears.map(({ name, weight }) => [name, weight]))
  for (const { milliseconds } of layers) {
    expect([...milliseconds.keys()]).toEqual(WIDTHS)
    for (const ms of milliseconds.values()) expect(ms).toBeGreaterThan(0)
  }
  const of = (layer: string) => layers.find((each) => each.layer === layer)?.milliseconds
  expect(of('layers.0.attention.query')).toBe(of('layers.1.attention.value'))
  expect(of('layers.0.mlp.fc1')).not.toBe(of('layers.0.mlp.fc2'))
})

test('no weight gets a width that loses both time and bytes; activations keep 8 bits', async () => {
  const model = await tinyModel()
  let measured: Latency['layers'] = []
  const small = await quantize(model, {
    ...{ calibrate: noise(1, 4), objective: 'latency', averageBits: 5 },
    onLatency: ({ layers }) => {
      measured = layers
    },
  })
  const { weightBits, operands } = small.info()
  expect(weightBits).toBeLessThanOrEqual(5)
  for (const { weight, milliseconds } of measured) {
    const bits = operands.find(({ name }) => name === weight)?.bits as number
    for (const [width, ms] of milliseconds) {
      // 2 bits are not tried for an average of 5.
      if (width < bits && width > 2) expect(ms).toBeGreaterThanOrEqual(0.99 * (milliseconds.get(bits) as number))
    }
  }
  for (const { operand, bits } of operands) if (operand === 'activation') expect(bits).toBe(8)
  expect(costOf(small.parts.graph, small.parts.scheme).activationBits).toBe(8)
  for (const each of [model, small]) each.dispose()
})

test.each([
  [{ bits: 4 }, /'latency' chooses widths: give averageBits or maxDrop/],
  [{}, /give averageBits or maxDrop/],
  [{ averageBits: 4, preset: 'mptq' }, /the objective 'latency' is an option of the preset best, not of mptq/],
  [
    { averageBits: 4, allocation: 'even' },
    /the objective 'latency' and the allocation 'even', which does not look at the data for widths, exclude each other/,
  ],
  [{ averageBits: 4, objective: 'speed' }, /objective must be 'bits' or 'latency', not 'speed'/],
])('with %j it is refused', async (options, message) => {
  const model = await tinyModel()
  await expect(quantize(model, { calibrate: noise(1, 2), objective: 'latency', ...options } as never)).rejects.toThrow(message)
  model.dispose()
})
