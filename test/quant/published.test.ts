import { breather } from '../../lib/codes/breathe.js'
import { observationOf } from '../../lib/codes/observation.js'
import { familyCodes, SCALES } from '../../lib/codes/published.js'
import type { Graph } from '../../lib/graph/graph.js'
import { logitsOf, probabilitiesOf, type WeightCode } from '../../lib/graph/scheme.js'
import { decodeWeight } from '../../lib/quant/choose.js'
import { observe } from '../../lib/quant/observe.js'
import { findOperands, tensorOf } from '../../lib/quant/operands.js'
import type { PublishedPart, PublishedPreset } from '../../lib/quant/published/parts.js'
import { ProductSearch } from '../../lib/quant/published/product-search.js'
import { quantizeAsPublished } from '../../lib/quant/published/quantize.js'
import { smoothNorms } from '../../lib/quant/published/sq-b.js'
import { encodeTensor, roundTensor } from '../../lib/quant/published/weights.js'
import { columnsOf, smoothingFactor } from '../../lib/quant/smooth.js'
import { unpackWeight } from '../../lib/runtime/blobs.js'
import { normals } from '../support/random.js'
import { runReference } from '../support/reference.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'

const IMAGES = 6

function calibrationOf(graph: Graph, images = IMAGES) {
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  return { pixels: normals(1, images * rows * width), images }
}

const models: [string, () => Promise<Graph>][] = [
  ['ViT', () => smallVit({ distillationHead: false, distillationToken: false })],
  ['DeiT', () => smallVit()],
  ['Swin', () => smallSwin()],
]

describe.each(models)('SQ-b of %s', (_, make) => {
  it('leaves the logits as they are, in doubles, and what is known of the edges is what is there', async () => {
    const graph = await make()
    // LayerNorms of trained models differ from channel to channel.
    for (const node of graph.nodes) {
      if (node.op !== 'layernorm') continue
      for (const [name, spread] of [
        [node.gamma, 0.8],
        [node.beta, 1.5],
      ] as const) {
        const { shape, data } = graph.constants.get(name) as { shape: number[]; data: Float32Array }
        graph.constants.set(name, { shape, data: data.map((x, j) => x + spread * Math.sin(3 * j)) })
      }
    }
    const calibration = calibrationOf(graph)
    const operands = findOperands(graph)
    const { observations } = await observe(graph, operands.activations, calibration)
    const alike = (_edge: string, width: number) => new Float64Array(width).fill(1)
    const widths = { weight: 4, activation: 4 }
    const smoothed = await smoothNorms(graph, operands, observations, alike, widths, SCALES, breather(), {})

    const image = calibration.pixels.subarray(0, calibration.pixels.length / IMAGES)
    const [before, after] = [runReference(graph, image), runReference(smoothed.graph, image)]
    const [expected, found] = [before, after].map((edges) => edges.get(graph.output)?.data as Float64Array)
    const norm = Math.sqrt(expected.reduce((sum, x) => sum + x * x, 0))
    expect(Math.sqrt(found.reduce((sum, x, i) => sum + (x - expected[i]) ** 2, 0)) / norm).toBeLessThan(1e-5)

    const folded = operands.activations.filter(({ name, readers }) => {
      const norm = graph.nodes.find(({ output, op }) => output === name && op === 'layernorm')
      return norm && readers.length > 0 && smoothed.observations.get(name) !== observations.get(name)
    })
    expect(folded.length).toBeGreaterThan(1)
    const seen = (await observe(smoothed.graph, operands.activations, calibration)).observations
    for (const { name, width } of folded) {
      const [known, there] = [smoothed.observations.get(name), seen.get(name)]
      for (let c = 0; c < width; c++) {
        const scale = Math.sqrt(known?.meanSquare[c] as number) + 1e-6
        expect(Math.abs((known?.mean[c] as number) / scale)).toBeLessThan(1e-3)
        expect(Math.abs((known?.max[c] as number) - (there?.max[c] as number)) / scale).toBeLessThan(1e-3)
      }
    }
  })
})

it('a channel without spread keeps its scale', () => {
  const samples = normals(3, 400).map((x, i) => (i % 4 === 2 ? 5 : x))
  const observation = observationOf(samples, 4)
  const factor = smoothingFactor(columnsOf([{ shape: [2, 4], data: normals(4, 8) }]), observation, observation.mean, 'reach', 0.5)
  expect(factor[2]).toBe(1)
  expect(factor[0]).not.toBe(1)
})

describe('the search by products', () => {
  const [rows, width, outputs] = [96, 20, 12]
  const x = normals(11, rows * width).map((v, i) => (i % width === 7 ? 6 * v : v))
  const weight = { shape: [outputs, width], data: normals(12, outputs * width).map((v, i) => (i === 33 ? 5 * v : v)) }
  const outputWeights = Float64Array.from({ length: outputs }, (_, o) => 0.1 + o)
  const settings = (finalists: number) => ({
    scales: SCALES,
    codes: (bits: number, range: { min: number; max: number }) => familyCodes('symmetric', bits, range, SCALES, 'rule'),
    finalists,
    rounds: 3,
  })
  const searchOf = (finalists = 6) =>
    ProductSearch.of(observationOf(x, width), [{ weight, outputWeights, given: null }], settings(finalists), breather(), {})

  /** sum h (W x - W' x')^2 in doubles. */
  function lossOf(step: number, weightStep: number, bits: number): number {
    const half = 2 ** (bits - 1)
    const round = (v: number, s: number) => Math.min(Math.max(Math.round(v / s), -half), half - 1) * s
    let loss = 0
    for (let t = 0; t < rows; t++) {
      for (let o = 0; o < outputs; o++) {
        let e = 0
        for (let j = 0; j < width; j++) {
          const [v, w] = [x[t * width + j], weight.data[o * width + j]]
          e += w * v - round(w, weightStep) * round(v, step)
        }
        loss += outputWeights[o] * e * e
      }
    }
    return loss
  }

  it.each([3, 4, 6])('at %i bits comes near the best pair of scales, and never behind minima and maxima', async (bits) => {
    const search = await searchOf()
    await search.search(bits, [bits])
    const chosen = lossOf(search.code?.step as number, search.weights[0]?.steps[0] as number, bits)
    expect((await search.loss()) / chosen).toBeCloseTo(1, 3)
    const reach = (values: Float32Array) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0) / (2 ** (bits - 1) - 0.5)
    expect(chosen).toBeLessThan(lossOf(reach(x), reach(weight.data), bits))
    let least = Number.POSITIVE_INFINITY
    for (let i = 4; i <= 100; i += 4) {
      for (let k = 4; k <= 100; k += 4)
        least = Math.min(least, lossOf((reach(x) * 1.2 * i) / 100, (reach(weight.data) * 1.2 * k) / 100, bits))
    }
    expect(chosen).toBeLessThan(1.25 * least)
  })

  it('takes what is least of the finalists', async () => {
    const search = await searchOf()
    await search.search(4, [4])
    const weightStep = search.weights[0]?.steps[0] as number
    const losses = familyCodes('symmetric', 4, { min: 0, max: x.reduce((m, v) => Math.max(m, Math.abs(v)), 0) }, SCALES, 'rule').map(
      ({ step }) => lossOf(step, weightStep, 4),
    )
    expect(lossOf((await search.activation(4)).step, weightStep, 4)).toBeLessThan(1.05 * Math.min(...losses))
  })
})

describe('one step for a weight', () => {
  const weight = { shape: [7, 9], data: normals(5, 63) }

  it('is written for every row, and what it stands for is within half of it', () => {
    const code = encodeTensor(weight, 0.25, 5)
    expect([...code.steps]).toEqual(Array(7).fill(0.25))
    const { data } = decodeWeight(code)
    data.forEach((w, i) => {
      if (Math.abs(weight.data[i]) < 15 * 0.25) expect(Math.abs(w - weight.data[i])).toBeLessThanOrEqual(0.125)
    })
    expect([...unpackWeight(code.packed, 7, 9, 5)].map((level) => level * 0.25)).toEqual([...data])
    // + 0: levels have no sign of zero.
    expect([...roundTensor(weight, 0.25, 5).data].map((w) => w + 0)).toEqual([...data])
  })
})

describe('the presets', () => {
  const few = (graph: Graph) => calibrationOf(graph, 8)

  it('min-max has one step for a tensor, from its largest magnitude', async () => {
    const graph = await smallVit()
    const { scheme } = await quantizeAsPublished(graph, few(graph), { preset: 'minmax', weightBits: 5, activationBits: 4 })
    const { activations, weights } = findOperands(graph)
    const { observations } = await observe(graph, activations, few(graph))
    const image = activations[0].name
    for (const { name, kind } of activations) {
      if (name === 'norm') continue
      const { bits, family, levels, step } = scheme.edges.get(name) as { bits: number; family: string; levels: number[]; step: number }
      const { min, max } = observations.get(name) as { min: Float64Array; max: Float64Array }
      const reach = Math.max(...max, ...min.map((v) => -v))
      expect([bits, family]).toEqual([name === image ? 8 : 4, 'uniform'])
      expect(levels[0]).toBe(kind === 'probabilities' ? 0 : -(2 ** (bits - 1)))
      expect(step / (reach / (kind === 'probabilities' ? 2 ** bits - 0.5 : 2 ** (bits - 1) - 0.5))).toBeCloseTo(1, 5)
    }
    for (const { name, input } of weights) {
      const { bits, steps } = scheme.weights.get(name) as WeightCode
      const reach = tensorOf(graph, name).data.reduce((most, w) => Math.max(most, Math.abs(w)), 0)
      expect(bits).toBe(input.name === image ? 8 : 5)
      expect(new Set(steps).size).toBe(1)
      expect(steps[0] / (reach / (2 ** (bits - 1) - 0.5))).toBeCloseTo(1, 5)
    }
  })

  it.each(['tsptq', 'mptq'] as const)('%s with full coverage has the codes of its parts, one step for a weight', async (preset) => {
    for (const graph of [await smallVit(), await smallSwin()]) {
      const options = { preset, coverage: 'full', weightBits: 4, activationBits: 4 } as const
      const { graph: quantized, scheme } = await quantizeAsPublished(graph, few(graph), options)
      const { activations, weights } = findOperands(quantized, 'full')
      for (const { name, kind } of activations) {
        const { bits, family, factors } = scheme.edges.get(name) as { bits: number; family: string; factors?: Float32Array }
        if (kind === 'gelu input' || kind === 'logits') expect([bits, family]).toEqual([8, 'uniform'])
        if (kind !== 'residual') expect(factors).toBeUndefined()
        if (!['gelu output', 'probabilities', 'residual'].includes(kind)) expect(family).toBe('uniform')
        if (kind === 'gelu output') expect(family).not.toBe('codebook')
      }
      const image = activations[0].name
      for (const { name, input } of weights) {
        const steps = new Set((scheme.weights.get(name) as WeightCode).steps)
        if (input.name !== image) expect(steps.size).toBe(1)
      }
      for (const node of quantized.nodes) {
        if (node.op === 'attention') expect(scheme.edges.has(logitsOf(node)) && scheme.edges.has(probabilitiesOf(node))).toBe(true)
      }
    }
  })

  it('parts can be switched off alone', async () => {
    const graph = await smallVit()
    const widths = { weightBits: 4, activationBits: 4, coverage: 'full' } as const
    const mptq = (...without: PublishedPart[]) => quantizeAsPublished(graph, few(graph), { preset: 'mptq', ...widths, without })
    const families = async (...without: PublishedPart[]) =>
      new Set([...(await mptq(...without)).scheme.edges.values()].map(({ family }) => family))
    for (const family of ['v2sf', 'o2sf'] as const) {
      expect(await families()).toContain(family)
      expect(await families(family)).not.toContain(family)
    }
    const whole = await mptq()
    for (const part of ['search', 'fisher', 'v2sf', 'o2sf', 'sq-b', 'opt-m'] as const) {
      expect([part, (await mptq(part)).scheme]).not.toEqual([part, whole.scheme])
    }
    expect(whole.graph.constants).not.toEqual(graph.constants)
    expect((await mptq('sq-b')).graph.constants).toEqual(graph.constants)
  })

  it('Greedy MP gives the same whatever the threads, and meets its target within one step', async () => {
    const graph = await smallVit()
    const options = { preset: 'mptq', averageBits: 5 } as const
    const [one, two, again] = [
      await quantizeAsPublished(graph, few(graph), { ...options, threads: 1 }),
      await quantizeAsPublished(graph, few(graph), { ...options, threads: 2 }),
      await quantizeAsPublished(graph, few(graph), { ...options, threads: 2 }),
    ]
    expect(two.trajectory).toEqual(one.trajectory)
    expect(again.trajectory).toEqual(one.trajectory)
    expect(two.scheme).toEqual(one.scheme)
    const last = one.trajectory[one.trajectory.length - 1]
    for (const kind of ['weightBits', 'activationBits'] as const) {
      expect(last[kind]).toBeLessThanOrEqual(5 + 1e-9)
      const reached = one.trajectory.find((step) => step[kind] <= 5 + 1e-9)
      expect(reached?.[kind]).toBe(last[kind])
    }
    const { weights } = findOperands(graph)
    const elements = weights.reduce((sum, unit) => sum + unit.elements, 0)
    const bits = weights.reduce((sum, { name, elements: n }) => sum + n * (one.scheme.weights.get(name) as WeightCode).bits, 0)
    expect(bits / elements).toBeCloseTo(last.weightBits, 9)
  })

  it('zeros are no obstacle', async () => {
    const graph = await smallVit()
    const dead = graph.nodes.find((node) => node.op === 'linear' && node.name.includes('mlp'))
    const name = dead?.op === 'linear' ? dead.weight : ''
    const { shape, data } = graph.constants.get(name) as { shape: number[]; data: Float32Array }
    graph.constants.set(name, { shape, data: new Float32Array(data.length) })
    const { divergence } = await quantizeAsPublished(graph, few(graph), {
      preset: 'mptq',
      coverage: 'full',
      weightBits: 4,
      activationBits: 4,
    })
    expect(Number.isFinite(divergence)).toBe(true)
  })

  it.each<[string, object, RegExp]>([
    [
      'an average for tsptq',
      { preset: 'tsptq', averageBits: 4 },
      /tsptq has one width for all without Greedy MP: take best for an average/,
    ],
    ['an average and a width', { preset: 'mptq', averageBits: 4, weightBits: 4 }, /either an average or widths/],
    ['an average below three', { preset: 'mptq', averageBits: 2.5 }, /from 3 to 8 bits, not 2.5/],
    ['nine bits', { preset: 'mptq', activationBits: 9 }, /activation bits must be an integer from 2 to 8, not 9/],
  ])('refuse %s', async (_, options, message) => {
    const graph = await smallVit()
    await expect(quantizeAsPublished(graph, few(graph), options as { preset: PublishedPreset })).rejects.toThrow(message)
  })
})
