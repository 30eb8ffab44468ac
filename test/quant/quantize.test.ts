import { breather } from '../../lib/codes/breathe.js'
import { costOf } from '../../lib/graph/cost.js'
import type { Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import type { Scheme } from '../../lib/graph/scheme.js'
import { randomVitOf } from '../../lib/models/random.js'
import { observe } from '../../lib/quant/observe.js'
import { findOperands } from '../../lib/quant/operands.js'
import { type QuantizerOptions, quantizerOf } from '../../lib/quant/quantizer.js'
import type { QuantizedGraph } from '../../lib/quant/search.js'
import { smooth } from '../../lib/quant/smooth.js'
import { Session } from '../../lib/runtime/session.js'
import { normals } from '../support/random.js'
import { smallSwin } from '../support/small-swin.js'
import { quantile, turnsDuring } from '../support/turns.js'

const SHAPE = {
  architecture: 'vit',
  channels: 3,
  imageHeight: 24,
  imageWidth: 24,
  patchHeight: 6,
  patchWidth: 6,
  hidden: 48,
  heads: 3,
  intermediate: 96,
  layers: 2,
  eps: 1e-6,
  distillationToken: true,
  distillationHead: true,
  classes: 7,
}
const IMAGES = 12
const calibration = { pixels: normals(1, IMAGES * 3 * 24 * 24), images: IMAGES }

interface Options extends Partial<QuantizerOptions> {
  bits?: number
  averageBits?: number
}

function quantizeGraph(float: Graph, images: typeof calibration, { bits = 8, averageBits, ...options }: Options): Promise<QuantizedGraph> {
  const widths = averageBits === undefined ? { weightBits: bits, activationBits: bits } : { averageBits }
  return quantizerOf(float, images, { preset: 'best', coverage: 'partial', ...options })(widths)
}

async function logitsOf(graph: Graph, scheme: Scheme | null, path?: string): Promise<Float32Array> {
  const session = new Session(lower(graph, scheme).plan, { path })
  try {
    return await session.run(calibration.pixels, IMAGES)
  } finally {
    session.dispose()
  }
}

function relativeError(found: Float32Array, expected: Float32Array): number {
  const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0))
  return norm(found.map((x, i) => x - expected[i])) / norm(expected)
}

let graph: Graph
let float: Float32Array
beforeAll(async () => {
  graph = await randomVitOf(SHAPE, 3)
  float = await logitsOf(graph, null)
})

it('smoothing with a bias leaves the float model unchanged', async () => {
  const operands = findOperands(graph).activations
  const { observations } = await observe(graph, operands, calibration)
  const smoothed = await smooth(graph, operands, observations, breather())
  expect(relativeError(await logitsOf(smoothed.graph, null), float)).toBeLessThan(1e-5)
  // What is known of the smoothed edges must be what an observer sees there.
  const seen = (await observe(smoothed.graph, operands, calibration)).observations
  for (const [name, expected] of smoothed.observations) {
    const found = seen.get(name)
    for (let c = 0; c < expected.width; c++) {
      const scale = Math.sqrt(expected.meanSquare[c]) + 1e-6
      expect(Math.abs((found?.mean[c] as number) - expected.mean[c]) / scale).toBeLessThan(1e-3)
      expect(Math.abs((found?.max[c] as number) - expected.max[c]) / scale).toBeLessThan(1e-3)
    }
  }
})

it('observes every row', async () => {
  const operands = findOperands(graph).activations
  const { observations } = await observe(graph, operands, calibration)
  for (const { name, elements, width } of operands) {
    expect(observations.get(name)?.count).toBe((elements / width) * IMAGES)
  }
  const softmax = operands.find(({ kind }) => kind === 'probabilities')
  const observed = observations.get(softmax?.name as string)
  expect(observed?.mean.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 4)
})

it('8 bits stay close to the float model, and every operand has a code', async () => {
  const quantized = await quantizeGraph(graph, calibration, { bits: 8 })
  expect(relativeError(await logitsOf(quantized.graph, quantized.scheme), float)).toBeLessThan(0.03)
  const cost = costOf(quantized.graph, quantized.scheme)
  expect(cost.weightBits).toBe(8)
  expect(cost.activationBits).toBe(8)
})

it('quantizes attention in windows, merged rows and pooled ones', async () => {
  const swin = await smallSwin()
  const operands = findOperands(swin).activations
  const probabilities = operands.find(({ name }) => name === 'stages.0.blocks.1.attention.probabilities')
  expect(probabilities).toMatchObject({ width: 12, elements: 2 * 96 * 12 })
  expect(operands.find(({ name }) => name === 'mean')).toMatchObject({ kind: 'input', width: 40, elements: 40 })
  const quantized = await quantizeGraph(swin, calibration, { bits: 8 })
  expect(relativeError(await logitsOf(quantized.graph, quantized.scheme), await logitsOf(swin, null))).toBeLessThan(0.1)
})

it('gives the same bits on every path', async () => {
  const { graph: small, scheme } = await quantizeGraph(graph, calibration, { averageBits: 5 })
  const reference = await logitsOf(small, scheme, 'portable')
  expect(await logitsOf(small, scheme)).toEqual(reference)
})

it('bounds both averages, and loses less with more bits', async () => {
  const divergences: number[] = []
  for (const averageBits of [3, 4.5, 6.25, 8]) {
    const { graph: small, scheme, divergence } = await quantizeGraph(graph, calibration, { averageBits })
    const cost = costOf(small, scheme)
    for (const bits of [cost.weightBits, cost.activationBits]) {
      expect(bits).toBeLessThanOrEqual(averageBits)
      expect(bits).toBeGreaterThan(averageBits - 0.75)
    }
    divergences.push(divergence)
  }
  expect([...divergences].sort((a, b) => b - a)).toEqual(divergences)
})

it('keeps the patch embedding alone at 8 bits when one width is asked for', async () => {
  const { graph: small, scheme } = await quantizeGraph(graph, calibration, { bits: 4 })
  for (const { layer, bits } of costOf(small, scheme).operands) expect([layer, bits]).toEqual([layer, layer === 'patch_embedding' ? 8 : 4])
})

it('is deterministic', async () => {
  const [a, b] = await Promise.all([1, 2].map((threads) => quantizeGraph(graph, calibration, { averageBits: 4, threads })))
  expect(await logitsOf(a.graph, a.scheme)).toEqual(await logitsOf(b.graph, b.scheme))
})

it('names the operand when calibration is not finite', async () => {
  const pixels = calibration.pixels.slice()
  pixels[5] = Number.NaN
  await expect(quantizeGraph(graph, { pixels, images: IMAGES }, { bits: 8 })).rejects.toThrow(/not finite/)
})

it('stops when the signal says so', async () => {
  const controller = new AbortController()
  const running = quantizeGraph(graph, calibration, {
    averageBits: 4,
    signal: controller.signal,
    onProgress: ({ stage }) => stage === 'measure' && controller.abort(new Error('enough')),
  })
  await expect(running).rejects.toThrow('enough')
})

it('leaves the event loop alone', async () => {
  const larger = await randomVitOf({ ...SHAPE, hidden: 192, intermediate: 768, layers: 1 }, 4)
  const turns = await turnsDuring(() => quantizeGraph(larger, calibration, { averageBits: 4 }))
  expect(quantile(turns, 0.99)).toBeLessThan(20)
})

it.each(['layers.0.attention.query.weight', 'layers.1.attention.output.weight', 'layers.0.mlp.fc1.weight'])(
  'quantizes a model whose %s is zero, or nearly, so that nothing behind it matters',
  async (name) => {
    for (const value of [0, 1e-41]) {
      const { shape, data } = graph.constants.get(name) as { shape: number[]; data: Float32Array }
      const dead: Graph = { ...graph, constants: new Map(graph.constants).set(name, { shape, data: data.map(() => value) }) }
      const quantized = await quantizeGraph(dead, calibration, { bits: 8 })
      expect(relativeError(await logitsOf(quantized.graph, quantized.scheme), await logitsOf(dead, null))).toBeLessThan(0.05)
    }
  },
)

it('refuses a model whose logits overflow, and names them', async () => {
  const head = graph.nodes.find(({ op, name }) => op === 'linear' && name.includes('head')) as { weight: string }
  const { shape, data } = graph.constants.get(head.weight) as { shape: number[]; data: Float32Array }
  const broken: Graph = { ...graph, constants: new Map(graph.constants).set(head.weight, { shape, data: data.map(() => 3e38) }) }
  await expect(quantizeGraph(broken, calibration, { bits: 8 })).rejects.toThrow(
    `${graph.output}: the float model computes values that are not finite`,
  )
})
