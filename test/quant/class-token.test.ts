import { breather } from '../../lib/codes/breathe.js'
import { observationOf } from '../../lib/codes/observation.js'
import { costOf } from '../../lib/graph/cost.js'
import type { Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import { randomVitOf } from '../../lib/models/random.js'
import { CodeSearch } from '../../lib/quant/choose.js'
import { runGraph } from '../../lib/quant/evaluate.js'
import { fisher, signGradients } from '../../lib/quant/fisher.js'
import { measureInformation } from '../../lib/quant/information.js'
import { findOperands } from '../../lib/quant/operands.js'
import { NOTHING } from '../../lib/quant/parts.js'
import { type PublicWidths, type QuantizerOptions, quantizerOf } from '../../lib/quant/quantizer.js'
import { nearestLevel } from '../support/coded-reference.js'
import { normals } from '../support/random.js'
import { SMALL_SHAPE } from '../support/small-vit.js'

const IMAGES = 8
const { channels, imageHeight, imageWidth } = SMALL_SHAPE
const calibration = { pixels: normals(1, IMAGES * channels * imageHeight * imageWidth), images: IMAGES }
let graph: Graph
beforeAll(async () => {
  graph = await randomVitOf({ ...SMALL_SHAPE, distillationToken: false, distillationHead: false }, 3)
})

const quantize = (widths: PublicWidths, options: Partial<QuantizerOptions> = {}) =>
  quantizerOf(graph, calibration, { preset: 'best', coverage: 'full', ...options })(widths)

it.each([5, 3.5])('pays for fine rows out of an average of %d bits', async (averageBits) => {
  const { graph: quantized, scheme } = await quantize({ averageBits })
  const fine = findOperands(quantized, 'full', true).activations.filter(({ fineFirst }) => fineFirst)
  expect(new Set(fine.map(({ kind }) => kind))).toEqual(new Set(['input', 'gelu output', 'query', 'key', 'value', 'probabilities']))
  const narrow = fine.filter(({ name }) => (scheme.edges.get(name)?.bits as number) < 8)
  expect(narrow.length).toBeGreaterThan(fine.length / 2)
  for (const { name } of narrow) expect(scheme.edges.get(name)?.fineFirst).toBeDefined()
  expect(costOf(quantized, scheme).activationBits).toBeLessThanOrEqual(averageBits)
  expect(() => lower(quantized, scheme)).not.toThrow()
})

it.each<[string, PublicWidths, Partial<QuantizerOptions>]>([
  ['without the part', { averageBits: 4 }, { without: ['class-token'] }],
  ['where widths are not chosen by damage', { averageBits: 4 }, { without: ['allocation'] }],
  ['where activations are bytes', { averageBits: 5, among: {} }, {}],
  ['where all have one width', { weightBits: 4, activationBits: 4 }, {}],
  ['at averages that leave no room for them', { averageBits: 2 }, {}],
])('has no fine rows %s', async (_, widths, options) => {
  const { scheme } = await quantize(widths, options)
  expect([...scheme.edges.values()].filter(({ fineFirst }) => fineFirst !== undefined)).toEqual([])
})

it('has none in a model whose predictions are read from no single row', () => {
  const nodes = graph.nodes.map((node) => (node.op === 'row' ? { ...node, row: 3 } : node))
  expect(findOperands({ ...graph, nodes }, 'full', true).activations.filter(({ fineFirst }) => fineFirst)).toEqual([])
})

it('weighs columns by the rows that share the code', async () => {
  const found = findOperands(graph, 'full', true)
  const logits = await runGraph(graph, null, calibration.pixels, IMAGES, {})
  const { columns } = await measureInformation(graph, found, calibration, logits, {})
  const fine = found.activations.filter(({ fineFirst }) => fineFirst)
  const names = fine.map(({ name }) => name)
  const samples = new Map(fine.map(({ name, elements, width }) => [name, { sampleRows: (IMAGES * elements) / width, sampleStride: 1 }]))
  const gradients = await fisher(graph, calibration, names, { draws: 2, logits, seeds: signGradients, samples })
  for (const operand of fine) {
    const { kind, elements, width, name } = operand
    const rows = kind === 'probabilities' ? width : elements / width
    const sums = new Float64Array(width)
    let count = 0
    for (const drawn of gradients.get(name)?.samples ?? []) {
      for (let t = 0; t < drawn.length / width; t++) {
        if (t % rows === 0) continue
        count++
        for (let c = 0; c < width; c++) sums[c] += drawn[t * width + c] ** 2
      }
    }
    const own = columns(operand) as ArrayLike<number>
    // Differences of sums that have float32 terms; rows that nothing reads keep a millionth of what the first has.
    const all = gradients.get(name)?.meanSquare as Float64Array
    sums.forEach((sum, c) => expect(Math.abs(own[c] - sum / count)).toBeLessThan(1e-5 * all[c]))
  }
})

it.each([3, 6, 8])('tells the loss of the code that it gives, where first rows reach much farther, %d bits', async (bits) => {
  const [rows, width] = [4000, 6]
  const samples = normals(4, rows * width)
  const firstRows = normals(5, 20 * width).map((x) => 8 * x)
  const operand = {
    kind: 'input',
    factors: false,
    anyZero: false,
    fineFirst: true,
    elements: rows * width,
    width,
    attention: null,
  } as const
  const search = await CodeSearch.of(operand, { ...observationOf(samples, width), firstRows }, null, breather(), NOTHING)
  const { code, loss } = await search.best(bits)
  const squares = samples.reduce((sum, x) => sum + (x - nearestLevel(code, x) * code.step) ** 2, 0)
  // Extremes count once more.
  expect(loss / squares).toBeGreaterThan(0.95)
  expect(loss / squares).toBeLessThan(1.1)
  expect(code.fineFirst).toBe(bits < 8 ? -128 : undefined)
  // Eight bits for what reaches eight times as far clip little of it.
  expect(127 * code.step).toBeGreaterThan(0.6 * Math.max(...firstRows))
})
