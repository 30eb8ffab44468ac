import { stepsOf } from '../../lib/graph/factors.js'
import type { Graph, Tensor } from '../../lib/graph/graph.js'
import type { Code, Scheme } from '../../lib/graph/scheme.js'
import { runGraph } from '../../lib/quant/evaluate.js'
import { type LayerReport, measureLayers } from '../../lib/quant/layers.js'
import { BINS } from '../../lib/quant/rounding.js'
import { unpackWeight } from '../../lib/runtime/blobs.js'
import { nearestLevel } from '../support/coded-reference.js'
import { normals } from '../support/random.js'
import { simpleScheme } from '../support/random-scheme.js'
import { type Matrix, runReference, windowsIn } from '../support/reference.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'

const IMAGES = 3

interface Truth {
  /** By node. */
  errors: Map<string, number>
  /** By operand: fractions beyond the outermost levels, and relative errors of rounding. */
  clipped: Map<string, number>
  rounding: Map<string, number>
}

/** Sums by name that become root mean squares of a difference over those of a reference. */
class Ratios {
  private readonly sums = new Map<string, [number, number]>()
  add(name: string, expected: ArrayLike<number>, found: ArrayLike<number>): void {
    const sums = this.sums.get(name) ?? [0, 0]
    for (let i = 0; i < expected.length; i++) {
      sums[0] += (found[i] - expected[i]) ** 2
      sums[1] += expected[i] ** 2
    }
    this.sums.set(name, sums)
  }
  get(): Map<string, number> {
    return new Map([...this.sums].map(([name, [errors, squares]]) => [name, errors === 0 ? 0 : Math.sqrt(errors / squares)]))
  }
}

/** What the reference sees of one operand: which of its values count, and the step of each. */
interface Rounds {
  counts(i: number): boolean
  step(i: number): number
}

/** Rows of softmax are [windows][heads][tokens]; pairs that do not attend to each other are none of it. */
function roundsOf(graph: Graph, name: string, code: Code, { width }: Matrix): Rounds {
  const node = graph.nodes.find(({ name: layer }) => name === `${layer}.logits` || name === `${layer}.probabilities`)
  if (node?.op !== 'attention') {
    const steps = stepsOf(code, width)
    return { counts: () => true, step: (i) => steps[i % width] }
  }
  const windows = windowsIn(node, (graph.edges.get(node.output) as { rows: number }).rows)
  const steps = stepsOf(code, node.heads)
  const block = (i: number) => Math.floor(i / width / width)
  return {
    counts: (i) => windows[Math.floor(block(i) / node.heads)].attends(Math.floor(i / width) % width, i % width),
    step: (i) => steps[block(i) % node.heads],
  }
}

/** The same in doubles, from the reference executor and the nearest levels alone. */
function truthOf(graph: Graph, scheme: Scheme, pixels: Float32Array): Truth {
  const decoded: Graph = { ...graph, constants: new Map(graph.constants) }
  const [errors, rounding, beyond] = [new Ratios(), new Ratios(), new Map<string, [number, number]>()]
  const round = (name: string, values: ArrayLike<number>, after: ArrayLike<number>, [low, high]: [number, number], rounds: Rounds) => {
    const counted = Array.from(values, (_, i) => i).filter(rounds.counts)
    rounding.add(
      name,
      counted.map((i) => values[i]),
      counted.map((i) => after[i]),
    )
    const [count, all] = beyond.get(name) ?? [0, 0]
    const outside = counted.filter((i) => values[i] < low * rounds.step(i) || values[i] > high * rounds.step(i))
    beyond.set(name, [count + outside.length, all + counted.length])
  }
  for (const [name, code] of scheme.weights) {
    const { shape, data } = graph.constants.get(name) as Tensor
    const levels = unpackWeight(code.packed, code.outputs, code.inputs, code.bits)
    const step = (i: number) => code.steps[Math.floor(i / code.inputs)]
    const after = Float32Array.from(levels, (level, i) => level * step(i))
    decoded.constants.set(name, { shape, data: after })
    const half = 2 ** (code.bits - 1)
    round(name, data, after, [-half, half - 1], { counts: () => true, step })
  }
  const perImage = pixels.length / IMAGES
  for (let b = 0; b < IMAGES; b++) {
    const image = pixels.subarray(b * perImage, (b + 1) * perImage)
    const exact = runReference(graph, image)
    const coded = runReference(decoded, image, (name, values) => {
      const code = scheme.edges.get(name)
      if (!code) return
      const rounds = roundsOf(graph, name, code, values)
      const { width } = values
      const ofRow = (i: number, data: Float64Array) => data.subarray(i - (i % width), i - (i % width) + width)
      const before = values.data.map((x, i) => (code.relative ? x / Math.max(...ofRow(i, values.data)) : x))
      const after = before.map((x, i) => nearestLevel({ ...code, step: rounds.step(i) }, x) * rounds.step(i))
      round(name, before, after, [code.levels[0], code.levels[code.levels.length - 1]], rounds)
      values.data.set(code.relative ? after.map((x, i) => x / ofRow(i, after).reduce((a, b) => a + b, 0)) : after)
    })
    for (const { name, output } of graph.nodes) errors.add(name, (exact.get(output) as Matrix).data, (coded.get(output) as Matrix).data)
  }
  const clipped = new Map([...beyond].map(([name, [count, all]]) => [name, count / all]))
  return { errors: errors.get(), clipped, rounding: rounding.get() }
}

/** A step for each head. */
function withHeadFactors(graph: Graph, scheme: Scheme): Scheme {
  const edges = new Map(scheme.edges)
  for (const node of graph.nodes) {
    if (node.op !== 'attention') continue
    for (const name of [node.q, node.v, `${node.name}.probabilities`]) {
      const code = edges.get(name) as Code
      edges.set(name, { ...code, factors: Float32Array.from({ length: node.heads }, (_, h) => 1 + h / 8) })
    }
  }
  return { ...scheme, edges }
}

const models: [string, () => Promise<Graph>, Scheme['coverage']][] = [
  ['ViT, partial', () => smallVit(), 'partial'],
  ['ViT, full', () => smallVit(), 'full'],
  ['Swin, partial', () => smallSwin(), 'partial'],
  ['Swin, full', () => smallSwin(), 'full'],
]

describe.each(models)('%s', (_, build, coverage) => {
  let graph: Graph
  let scheme: Scheme
  let layers: LayerReport[]
  let truth: Truth
  let pixels: Float32Array
  beforeAll(async () => {
    graph = await build()
    const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
    pixels = normals(3, IMAGES * rows * width)
    scheme = withHeadFactors(graph, simpleScheme(graph, pixels.subarray(0, rows * width), coverage))
    layers = await measureLayers(graph, { graph, scheme }, { pixels, images: IMAGES }, {})
    truth = truthOf(graph, scheme, pixels)
  })

  // A value in the middle between two levels may go either way in floats and in doubles.
  const near = (found: number, expected: number) => Math.abs(found - expected) <= 0.01 * expected + 1e-6

  it('gives the error of each layer', () => {
    expect(layers.map(({ name }) => name)).toEqual(graph.nodes.filter(({ op }) => op !== 'row').map(({ name }) => name))
    const wrong = layers.filter(({ name, error }) => !near(error, truth.errors.get(name) as number))
    expect(wrong.map(({ name, error }) => ({ name, error, expected: truth.errors.get(name) }))).toEqual([])
    for (const { error, decibels } of layers) expect(error).toBeCloseTo(10 ** (-decibels / 20), 10)
    expect(Math.max(...layers.map(({ error }) => error))).toBeGreaterThan(0.01)
  })

  it('ends with the error of the logits that the kernels for codes compute', async () => {
    const [exact, coded] = [await runGraph(graph, null, pixels, IMAGES, {}), await runGraph(graph, scheme, pixels, IMAGES, {})]
    const ratios = new Ratios()
    ratios.add('logits', exact, coded)
    const error = layers.find(({ name }) => graph.nodes.find((node) => node.name === name)?.output === graph.output)?.error as number
    expect(near(error, ratios.get().get('logits') as number)).toBe(true)
  })

  it('gives bits, family, clipping and rounding of everything that has a code', () => {
    const operands = layers.flatMap((layer) => layer.operands)
    expect(new Set(operands.map(({ name }) => name))).toEqual(new Set([...scheme.weights.keys(), ...scheme.edges.keys()]))
    for (const { name, bits, family, clipped, error } of operands) {
      const code = scheme.edges.get(name)
      expect({ name, bits, family }).toEqual({
        name,
        bits: (code ?? scheme.weights.get(name))?.bits,
        family: code?.family ?? 'uniform',
      })
      expect({ name, clipped }).toEqual({ name, clipped: expect.closeTo(truth.clipped.get(name) as number, 3) })
      if (!near(error, truth.rounding.get(name) as number)) throw new Error(`${name}: ${error} and not ${truth.rounding.get(name)}`)
    }
    expect(operands.some(({ clipped }) => clipped > 0)).toBe(true)
  })

  it('gives distributions of all values', () => {
    for (const { name, distribution } of layers.flatMap((layer) => layer.operands)) {
      expect(distribution.low).toBeLessThan(distribution.high)
      for (const fractions of [distribution.before, distribution.after]) {
        expect(fractions).toHaveLength(BINS)
        expect({ name, sum: fractions.reduce((a, b) => a + b, 0) }).toEqual({ name, sum: expect.closeTo(1, 6) })
      }
    }
  })
})

it('knows a node by its name', async () => {
  const graph = await smallVit()
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const pixels = normals(3, rows * width)
  const scheme = simpleScheme(graph, pixels)
  const other = { ...graph, nodes: graph.nodes.slice(1) }
  await expect(measureLayers(other, { graph, scheme }, { pixels, images: 1 }, {})).rejects.toThrow('has no node patches')
})

it('stops when it is told to', async () => {
  const graph = await smallVit()
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const pixels = normals(3, rows * width)
  const abort = new AbortController()
  const reason = new Error('enough')
  let last = 0
  const onProgress = (done: number) => {
    last = done
    if (done === 5) abort.abort(reason)
  }
  const calibration = { pixels, images: 1 }
  const measured = measureLayers(graph, { graph, scheme: simpleScheme(graph, pixels) }, calibration, { signal: abort.signal, onProgress })
  await expect(measured).rejects.toBe(reason)
  expect(last).toBe(5)
})

it('takes nothing of a fine first row for clipped that its byte reaches', async () => {
  const graph = await smallVit()
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const pixels = normals(9, IMAGES * rows * width)
  const norm = 'layers.0.norm1'
  const images = Array.from({ length: IMAGES }, (_, i) => pixels.subarray(i * rows * width, (i + 1) * rows * width))
  const reach = Math.max(...images.flatMap((image) => [...(runReference(graph, image).get(norm) as Matrix).data].map(Math.abs)))
  // Levels next to zero, beyond which nearly everything lies, and a byte that reaches all.
  const code: Code = { bits: 2, family: 'codebook', levels: [-2, 0, 1, 2], step: Math.fround(reach / 110) }
  const clippedWith = async (changed: Code) => {
    const scheme = simpleScheme(graph, images[0])
    const edges = new Map(scheme.edges).set(norm, changed)
    const layers = await measureLayers(graph, { graph, scheme: { ...scheme, edges } }, { pixels, images: IMAGES }, {})
    return layers.flatMap(({ operands }) => operands).find(({ name }) => name === norm)?.clipped as number
  }
  const tokens = (graph.edges.get(norm) as { rows: number }).rows
  expect(await clippedWith(code)).toBeGreaterThan((tokens - 1) / tokens)
  expect(await clippedWith({ ...code, fineFirst: -128 })).toBeLessThanOrEqual((tokens - 1) / tokens)
})
