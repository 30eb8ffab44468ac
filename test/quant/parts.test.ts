import { breather } from '../../lib/codes/breathe.js'
import type { Graph } from '../../lib/graph/graph.js'
import type { Code } from '../../lib/graph/scheme.js'
import { CodeSearch, columnImportance } from '../../lib/quant/choose.js'
import { observe } from '../../lib/quant/observe.js'
import { findOperands } from '../../lib/quant/operands.js'
import { NOTHING, PARTS, type Part } from '../../lib/quant/parts.js'
import { type PublicWidths, quantizerOf } from '../../lib/quant/quantizer.js'
import type { QuantizedGraph } from '../../lib/quant/search.js'
import { normals } from '../support/random.js'
import { isRounded } from '../support/rounded.js'
import { smallVit } from '../support/small-vit.js'

const IMAGES = 8
const W4A4 = { weightBits: 4, activationBits: 4 }
/** What changes the float model: without it, constants can be compared with the model's. */
const CHANGES: Part[] = ['rotation', 'head-rotation', 'splitting', 'smoothing']

let graph: Graph
beforeAll(async () => {
  graph = await smallVit()
})

function calibrationOf(seed: number) {
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  return { pixels: normals(seed, IMAGES * rows * width), images: IMAGES }
}

function without(parts: readonly Part[], widths: PublicWidths = W4A4, more: { model?: Graph; seed?: number; coverage?: 'full' } = {}) {
  const { model = graph, seed = 1, coverage = 'partial' } = more
  return quantizerOf(model, calibrationOf(seed), { preset: 'best', coverage, without: parts })(widths)
}

const codes = ({ scheme }: QuantizedGraph): [string, Code][] => [...scheme.edges]
const families = (quantized: QuantizedGraph) => new Set(codes(quantized).map(([, { family }]) => family))
const data = ({ constants }: Graph, name: string) => (constants.get(name) as { data: Float32Array }).data

const stepsDiffer = ({ scheme }: QuantizedGraph) =>
  [...scheme.weights.values()].some(({ steps }) => steps.some((step) => step !== steps[0]))

it('leaves the float model as it is without the parts that change it, and each of these changes it', async () => {
  const same = ({ float }: QuantizedGraph, model: Graph) => [...model.constants.keys()].every((name) => isEqual(float, model, name))
  const isEqual = (a: Graph, b: Graph, name: string) =>
    Buffer.compare(Buffer.from(data(a, name).buffer), Buffer.from(data(b, name).buffer)) === 0
  const name = 'layers.1.mlp.fc1.weight'
  const { shape } = graph.constants.get(name) as { shape: number[] }
  const far = data(graph, name).map((w, i) => (i < shape[1] ? 200 * w : w))
  const positions = graph.constants.get('embeddings.positions') as { shape: number[]; data: Float32Array }
  // A channel of the stream that reaches far, which a rotation is for.
  const uneven = positions.data.map((x, i) => (i % 36 === 5 ? 50 * x : x))
  const constants = new Map(graph.constants).set(name, { shape, data: far })
  const outlier = { ...graph, constants: constants.set('embeddings.positions', { ...positions, data: uneven }) }
  const rest: Part[] = ['sequence', 'compensation', 'codebooks', 'head-steps']
  expect(same(await without([...CHANGES, ...rest], W4A4, { model: outlier }), outlier)).toBe(true)
  for (const part of CHANGES) {
    const others = CHANGES.filter((other) => other !== part)
    expect([part, same(await without([...others, ...rest], W4A4, { model: outlier }), outlier)]).toEqual([part, false])
  }
})

it('has the code families of the parts that are there', async () => {
  const found = async (...parts: Part[]) => families(await without(parts, W4A4, { coverage: 'full' }))
  expect(await found('sequence')).toContain('codebook')
  const named = await found('sequence', 'codebooks')
  expect([named.has('regions'), named.has('codebook')]).toEqual([true, false])
  expect(await found('sequence', 'codebooks', 'families', 'relative-softmax')).toEqual(new Set(['uniform', 'v2sf', 'o2sf']))
  expect(await found('sequence', 'codebooks', 'families', 'relative-softmax', 'v2sf')).toEqual(new Set(['uniform', 'o2sf']))
  expect(await found('codebooks', 'families', 'v2sf', 'o2sf')).toEqual(new Set(['uniform']))
})

it('has one step for an edge of attention without head-steps, and one for a weight without row-steps', async () => {
  const headed = (quantized: QuantizedGraph) => codes(quantized).filter(([, { factors, family }]) => factors && family !== 'o2sf')
  const [all, neither] = [await without([]), await without(['head-steps', 'row-steps'])]
  expect(headed(all).length).toBeGreaterThan(0)
  expect(headed(neither)).toEqual([])
  expect([stepsDiffer(all), stepsDiffer(neither)]).toEqual([true, false])
})

it('codes softmax relative to the largest of each query, with relative-softmax', async () => {
  const relative = (quantized: QuantizedGraph) => codes(quantized).flatMap(([name, code]) => (code.relative ? [name] : []))
  const softmax = codes(await without([])).flatMap(([name]) => (name.endsWith('.probabilities') ? [name] : []))
  expect(relative(await without([]))).toEqual(softmax)
  expect(relative(await without(['relative-softmax']))).toEqual([])
})

it('rounds weights to the nearest level without compensation and refit', async () => {
  const rounded = (parts: Part[]) =>
    without(parts, { weightBits: 3, activationBits: 3 }).then(({ float, scheme }) => isRounded(float, scheme))
  expect(await rounded(['refit', 'compensation'])).toBe(true)
  expect(await rounded(['sequence', 'compensation'])).toBe(true)
  expect(await rounded(['sequence'])).toBe(false)
})

it('leaves biases alone without bias', async () => {
  const moved = ({ graph: quantized, float }: QuantizedGraph) =>
    quantized.nodes.some((node) => {
      if (node.op !== 'linear') return false
      const original = float.nodes.find(({ name }) => name === node.name) as typeof node
      const before = original.bias === null ? null : data(float, original.bias)
      return node.bias !== null && data(quantized, node.bias).some((b, o) => b !== (before ? before[o] : 0))
    })
  for (const more of [[], ['sequence']] as Part[][]) {
    expect(moved(await without(['bias', ...more]))).toBe(false)
    expect(moved(await without(more))).toBe(true)
  }
})

it('chooses widths by size alone without allocation, whatever the images are', async () => {
  const widthsOf = ({ scheme }: QuantizedGraph) => [...scheme.weights, ...scheme.edges].map(([name, { bits }]) => [name, bits])
  const at = async (parts: Part[], seed: number) => widthsOf(await without(['sequence', ...parts], { averageBits: 4.5 }, { seed }))
  const even = await at(['allocation'], 1)
  expect(even).toEqual(await at(['allocation'], 2))
  expect(new Set(even.map(([, bits]) => bits))).toEqual(new Set([4, 5]))
  expect(even).not.toEqual(await at([], 1))
})

it('changes codes of the residual stream alone without stream-rows', async () => {
  const full = { coverage: 'full' as const }
  const [drawn, spread] = [await without(['sequence'], W4A4, full), await without(['sequence', 'stream-rows'], W4A4, full)]
  const kinds = new Map(findOperands(drawn.float, 'full').activations.map(({ name, kind }) => [name, kind]))
  const changed = codes(drawn).filter(([name, code]) => JSON.stringify(code) !== JSON.stringify(spread.scheme.edges.get(name)))
  expect(new Set(changed.map(([name]) => kinds.get(name)))).toEqual(new Set(['residual']))
})

it('weighs errors by what they add to products without fisher', async () => {
  const { scheme } = await without([...CHANGES, 'sequence', 'fisher'])
  const breathe = breather()
  const { activations } = findOperands(graph, 'partial')
  const { observations } = await observe(graph, activations, calibrationOf(1))
  const seen = (edge: string) => observations.get(edge) as NonNullable<ReturnType<typeof observations.get>>
  for (const operand of activations.filter(({ kind }) => kind === 'query' || kind === 'input')) {
    const importance = columnImportance(graph, operand, (edge) => seen(edge).meanSquare)
    const search = await CodeSearch.of(operand, seen(operand.name), importance, breathe, NOTHING)
    const bits = scheme.edges.get(operand.name)?.bits as number
    expect([operand.name, scheme.edges.get(operand.name)]).toEqual([operand.name, (await search.best(bits)).code])
  }
})

it('quantizes without anything', async () => {
  for (const widths of [W4A4, { averageBits: 4 }]) {
    const bare = await without(PARTS, widths)
    expect(isRounded(bare.float, bare.scheme) && !stepsDiffer(bare)).toBe(true)
    expect(families(bare)).toEqual(new Set(['uniform']))
    expect(bare.divergence).toBeGreaterThan((await without([], widths)).divergence)
  }
})
