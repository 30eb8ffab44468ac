import { codebook } from '../../lib/codes/code.js'
import { costOf } from '../../lib/graph/cost.js'
import type { Scheme } from '../../lib/graph/scheme.js'
import { buildVit, type VitShape } from '../../lib/models/vit.js'
import { normals } from '../support/random.js'
import { simpleScheme } from '../support/random-scheme.js'
import { SMALL_SHAPE, smallVit } from '../support/small-vit.js'

const DEIT_SMALL: VitShape = {
  architecture: 'deit',
  channels: 3,
  imageHeight: 224,
  imageWidth: 224,
  patchHeight: 16,
  patchWidth: 16,
  hidden: 384,
  heads: 6,
  intermediate: 1536,
  layers: 12,
  eps: 1e-6,
  distillationToken: false,
  distillationHead: false,
  classes: 1000,
}

it('counts DeiT-Small as the literature does', async () => {
  const zeros = async (_: string, shape: number[]) => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) })
  const graph = await buildVit(DEIT_SMALL, zeros)
  const cost = costOf(graph)
  // 4.6 GMACs and 22.05 M parameters, all but 0.1 M of them in linear layers.
  expect(cost.macs / 1e9).toBeCloseTo(4.6, 1)
  const [tokens, width, hidden] = [197, 384, 1536]
  const weights = 768 * width + 12 * (4 * width * width + 2 * width * hidden) + 1000 * width
  expect(cost.weightParameters).toBe(weights)
  // norm1, queries, keys, values, attention, norm2, GELU; and the probabilities of six heads.
  const perLayer = tokens * (width + 3 * width + width + width + hidden) + 6 * tokens * tokens
  expect(cost.activationElements).toBe(196 * 768 + 12 * perLayer + width)
  const perLayerMacs = tokens * (4 * width * width + 2 * width * hidden) + 2 * tokens * tokens * width
  expect(cost.macs).toBe(196 * 768 * width + 12 * perLayerMacs + 1000 * width)
  expect([cost.weightBits, cost.activationBits]).toEqual([32, 32])
  expect(cost.nodes.reduce((sum, { macs }) => sum + macs, 0)).toBe(cost.macs)
})

it('averages bits over elements, also when only the scheme knows the weights', async () => {
  const graph = await smallVit()
  const scheme = simpleScheme(graph, normals(1, SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth))
  const cost = costOf(graph, scheme)
  let [bits, elements] = [0, 0]
  for (const code of scheme.weights.values()) {
    bits += code.bits * code.outputs * code.inputs
    elements += code.outputs * code.inputs
  }
  expect(cost.weightBits).toBeCloseTo(bits / elements, 12)
  expect(cost.operands.filter(({ kind }) => kind !== 'weight').map(({ name }) => name)).toEqual([...scheme.edges.keys()])
  const constants = new Map([...graph.constants].filter(([name]) => !scheme.weights.has(name)))
  expect(costOf({ ...graph, constants }, scheme)).toEqual(cost)
})

it('counts the residual stream of full coverage, and nothing that is never stored', async () => {
  const graph = await smallVit()
  const image = normals(1, SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth)
  const partial = costOf(graph, simpleScheme(graph, image))
  const scheme = simpleScheme(graph, image, 'full')
  const cost = costOf(graph, scheme)
  const more = cost.operands.filter(({ name }) => !partial.operands.some((operand) => operand.name === name))
  const names = (kind: string) => more.filter((operand) => operand.kind === kind).map(({ name }) => name)
  const stream = ['embeddings', 'layers.0.attention.sum', 'layers.0.sum', 'layers.1.attention.sum', 'layers.1.sum']
  expect(names('residual')).toEqual(stream)
  expect(names('gelu input')).toEqual(['layers.0.mlp.fc1', 'layers.1.mlp.fc1'])
  expect(names('logits')).toEqual(['layers.0.attention.logits', 'layers.1.attention.logits'])
  expect(more.length).toBe(9)
  const tokens = 2 + 6
  const elements = stream.length * tokens * SMALL_SHAPE.hidden
  expect(cost.activationElements).toBe(partial.activationElements + elements)
  const stored = cost.operands.filter(({ kind }) => !['weight', 'gelu input', 'logits'].includes(kind))
  const bits = stored.reduce((sum, operand) => sum + operand.bits * operand.elements, 0)
  expect(cost.activationBits).toBeCloseTo(bits / cost.activationElements, 12)
  expect(cost.weightBits).toBe(costOf(graph, { ...scheme, coverage: 'partial' }).weightBits)
})

it('counts a float operand as 32 bits', async () => {
  const graph = await smallVit({ layers: 1 })
  const all = simpleScheme(graph, normals(1, SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth))
  const scheme: Scheme = { ...all, weights: new Map() }
  expect(costOf(graph, scheme).weightBits).toBe(32)
  expect(costOf(graph, scheme).activationBits).toBeLessThan(8)
})

it('counts 8 bits for each element of a fine first row', async () => {
  const graph = await smallVit()
  const image = normals(1, SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth)
  const scheme = simpleScheme(graph, image)
  const edges = new Map(scheme.edges)
  const [norm, weights] = ['layers.0.norm1', 'layers.0.attention.probabilities']
  for (const name of [norm, weights]) edges.set(name, { ...codebook(2, 1, [0, 9, 20, 30]), fineFirst: 0 })
  const fine = costOf(graph, { ...scheme, edges })
  const plain = costOf(graph, { ...scheme, edges: new Map([...edges].map(([name, code]) => [name, { ...code, fineFirst: undefined }])) })
  // One row of a LayerNorm, and what one query of each head has for all tokens, with six bits more.
  const { rows } = graph.edges.get(norm) as { rows: number }
  const more = 6 * (SMALL_SHAPE.hidden + SMALL_SHAPE.heads * rows)
  expect((fine.activationBits - plain.activationBits) * plain.activationElements).toBeCloseTo(more, 6)
  expect(fine.operands.find(({ name }) => name === norm)?.bits).toBe(2)
})
